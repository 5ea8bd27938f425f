"""Nodes are told what to be: drained, promoted, demoted, removed, let in and kept out."""

import time
from pathlib import Path

import pytest

from cluster.rpc.identity import facts
from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.faults.rig import create, local_state, managers_but, nodes, reachable, running, states
from integration.witness import Writer, containers, left_behind

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]


def test_drain_empties_a_node_pause_keeps_it_as_it_is_and_labels_make_room(cluster: Cluster) -> None:
    manager = cluster.daemons["m1"]
    create(manager, "web", "--replicas", "5")
    manager.wait_running("web", 5)
    before = {one for one in running(cluster) if one.daemon != "w1"}
    manager.docker("node", "update", "--availability", "drain", "w1")
    wait_until(lambda: not containers([cluster.daemons["w1"]]), what="the drained node is empty")
    manager.wait_running("web", 5)
    assert before <= running(cluster)
    manager.docker("node", "update", "--availability", "pause", "w1")
    create(manager, "agent", "--mode", "global")
    manager.wait_running("agent", 4)
    manager.docker("node", "update", "--availability", "active", "w1")
    manager.wait_running("agent", 5)
    create(manager, "fast", "--constraint", "node.labels.disk==ssd")
    wait_until(lambda: manager.tasks("fast", "pending"), what="no node will do")
    manager.docker("node", "update", "--label-add", "disk=ssd", "w1")
    (task,) = manager.wait_running("fast", 1)
    assert task["NodeID"] == nodes(manager)["w1"]["ID"]
    manager.docker("node", "update", "--label-rm", "disk", "w1")


def test_a_worker_leaves_nothing_behind_and_can_be_forgotten(cluster: Cluster) -> None:
    manager, leaver = cluster.daemons["m1"], cluster.daemons["w2"]
    busy(manager, "w2")
    assert left_behind(leaver) != []
    old = nodes(manager)["w2"]["ID"]
    with pytest.raises(CommandFailed, match="is not down and can't be removed"):
        manager.docker("node", "rm", "w2")
    leaver.docker("swarm", "leave")
    assert local_state(leaver) == "inactive"
    assert left_behind(leaver) == []
    wait_until(lambda: states(manager)[old] == "down", what="its departure is known")
    manager.docker("node", "rm", "w2")
    assert old not in states(manager)
    idle(manager)
    cluster.join(leaver, manager, "worker")


@pytest.mark.parametrize("how", ["while it is up", "while it is off"])
def test_a_removed_node_notices_and_is_refused(cluster: Cluster, how: str) -> None:
    manager, removed = cluster.daemons["m1"], cluster.daemons["w2"]
    busy(manager, "w2")
    if how == "while it is off":
        removed.kill()
    old = nodes(manager)["w2"]["ID"]
    manager.docker("node", "rm", "--force", "w2")
    if how == "while it is off":
        assert containers([removed]) != set()
        removed.start()
    wait_until(lambda: local_state(removed) == "inactive", what="it knows")
    try:
        wait_until(lambda: left_behind(removed) == [], what="its tasks are ended")
    except TimeoutError:
        print(left_behind(removed), removed.tail(150), sep="\n")
        raise
    assert old not in states(manager)
    idle(manager)
    cluster.join(removed, manager, "worker")


def busy(manager: Daemon, name: str) -> None:
    """Have a node run what leaves traces: a container, a network, a secret, a published port."""
    manager.docker("network", "create", "-d", "overlay", "net")
    manager.docker("secret", "create", "password", "-", stdin=b"hunter2")
    here = ("--constraint", f"node.hostname=={name}")
    create(manager, "busy", *here, "--network", "net", "--secret", "password", "--publish", "8099:80")
    manager.wait_running("busy", 1)


def idle(manager: Daemon) -> None:
    manager.docker("service", "rm", "busy")
    manager.docker("secret", "rm", "password")
    wait_until(lambda: manager.docker("network", "rm", "net"), what="the network can go")


def test_a_manager_leaves_by_force_only_and_the_others_go_on(cluster: Cluster) -> None:
    leaver = cluster.leader()
    others = managers_but(cluster, leaver)
    create(others[0], "web", "--replicas", "5")
    others[0].wait_running("web", 5)
    before = {one for one in running(cluster) if one.daemon != leaver.name}
    with pytest.raises(CommandFailed, match="You are attempting to leave the swarm on a node that is participating as a manager"):
        leaver.docker("swarm", "leave")
    old = nodes(others[0])[leaver.name]["ID"]
    leaver.docker("swarm", "leave", "--force")
    assert left_behind(leaver) == []
    others[0].docker("config", "create", f"after-{leaver.name}", "-", stdin=b"x")
    wait_until(lambda: states(others[0])[old] == "down", what="its departure is known")
    others[0].wait_running("web", 5)
    assert before <= running(cluster)
    others[0].docker("node", "rm", old)
    cluster.join(leaver, others[0], "manager")
    wait_until(lambda: len(reachable(others[0])) == 3, what="it is a manager again")


def test_promotion_and_demotion_change_the_role_and_no_container(cluster: Cluster) -> None:
    manager, worker = cluster.daemons["m1"], cluster.daemons["w1"]
    create(manager, "web", "--replicas", "5")
    manager.wait_running("web", 5)
    before = running(cluster)
    begun = time.monotonic()
    manager.docker("node", "promote", "w1")
    wait_until(lambda: "w1" in reachable(manager), what="it is a manager")
    wait_until(lambda: worker.docker("node", "ls", "-q"), what="it answers as one")
    promoted = time.monotonic() - begun
    begun = time.monotonic()
    manager.docker("node", "demote", "w1")
    wait_until(lambda: worker.docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "false", what="it is a worker again")
    wait_until(lambda: "ManagerStatus" not in nodes(manager)["w1"], what="the managers know")
    print(f"promoted in {promoted:.1f} s, demoted in {time.monotonic() - begun:.1f} s")
    with pytest.raises(CommandFailed, match="Worker nodes can't be used to view or modify cluster state"):
        worker.docker("node", "ls")
    assert running(cluster) == before
    assert {task["ID"] for task in manager.wait_running("web", 5)} == {one.task for one in before}


def test_a_demoted_leader_hands_over_first(cluster: Cluster) -> None:
    leader = cluster.leader()
    others = managers_but(cluster, leader)
    create(others[0], "web", "--replicas", "5")
    others[0].wait_running("web", 5)
    before = running(cluster)
    with Writer(lambda: others, prefix="demote") as writer:
        leader.docker("node", "demote", leader.name)
        wait_until(lambda: "ManagerStatus" not in nodes(others[0])[leader.name], what="it is no manager any more")
        wait_until(lambda: leader.docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "false", what="it knows")
    assert cluster.leader(others) is not leader
    assert writer.missing(others[1]) == set()
    assert running(cluster) == before
    others[0].docker("node", "promote", leader.name)
    wait_until(lambda: len(reachable(others[0])) == 3, what="it is a manager again")
    wait_until(lambda: leader.get("/nodes"), what="and answers as one")
    print(f"demoted leader: longest gap {writer.longest:.2f} s")
    assert running(cluster) == before


def test_rotated_join_tokens_let_nobody_in(cluster: Cluster) -> None:
    manager, joiner = cluster.daemons["m1"], cluster.daemons["w2"]
    old = manager.docker("swarm", "join-token", "-q", "worker")
    new = manager.docker("swarm", "join-token", "-q", "--rotate", "worker")
    manager.docker("swarm", "update", "--cert-expiry", "48h")
    assert manager.get("/swarm")["Spec"]["CAConfig"]["NodeCertExpiry"] == 48 * 3600 * 10**9
    with pytest.raises(CommandFailed, match="minimum certificate expiry time is: 1h0m0s"):
        manager.docker("swarm", "update", "--cert-expiry", "30m")
    node = nodes(manager)["w2"]["ID"]
    joiner.docker("swarm", "leave")
    wait_until(lambda: states(manager)[node] == "down", what="its departure is known")
    manager.docker("node", "rm", node)
    join = ("swarm", "join", "--advertise-addr", joiner.address, f"{manager.address}:2377", "--token")
    with pytest.raises(CommandFailed, match="A valid join token is necessary"):
        joiner.docker(*join, old)
    assert local_state(joiner) == "inactive"
    assert not (joiner.folder / "data" / "swarm").exists()
    joiner.docker(*join, new)
    certificate = joiner.folder / "data" / "swarm" / "node.crt"
    assert lifetime_hours(certificate) == pytest.approx(49, abs=0.1), "48 hours, and back-dated by one"


def lifetime_hours(certificate: Path) -> float:
    shown = facts(certificate.read_text())
    return (shown.not_after - shown.not_before) / 3600
