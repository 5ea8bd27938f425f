"""A real cluster is hurt in every way that machines, processes and people know; what was acknowledged stays, what runs goes on.

The tests share one cluster, three managers and two workers, and run in the order of this file; each leaves it whole.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.rpc.identity import facts
from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.netlab import why_no_engine
from integration.witness import Running, Writer, ask, containers, left_behind

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]
IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
MANAGERS = ("m1", "m2", "m3")


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[Cluster]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-faults-"))
    with Cluster("faults", folder, network="10.97.0") as running:
        first = running.bring_up(managers=3, workers=2, archive=archive, image=IMAGE)
        wait_until(lambda: len(reachable(first)) == 3, what="three managers agree")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> Iterator[Daemon]:
    """Each test ends with five ready nodes, three of them managers, and without services."""
    yield cluster.daemons["m1"]
    for daemon in cluster.daemons.values():
        if daemon.process is None or daemon.process.poll() is not None:
            daemon.start(wait=False)
    for daemon in cluster.daemons.values():
        daemon.wait_ready()
    manager = cluster.daemons["m1"]
    if services := manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    wait_until(lambda: sorted(states(manager).values()) == ["ready"] * 5, what="all nodes are ready")


def patience(manager: Daemon, heartbeat: str) -> None:
    """A node is lost after three heartbeats: a busy machine may need more than three seconds to start a killed daemon again."""
    manager.docker("swarm", "update", "--dispatcher-heartbeat", heartbeat)


def nodes(asked: Daemon) -> dict[str, dict[str, Any]]:
    """By host name; of a name that several nodes have, the one that is not down."""
    rows = sorted(asked.get("/nodes"), key=lambda node: node["Status"]["State"] != "down")
    return {node["Description"]["Hostname"]: node for node in rows}


def states(asked: Daemon) -> dict[str, str]:
    return {node["ID"]: node["Status"]["State"] for node in asked.get("/nodes")}


def state_of(asked: Daemon, name: str) -> str:
    return str(nodes(asked)[name]["Status"]["State"])


def reachable(asked: Daemon) -> list[str]:
    return [name for name, node in nodes(asked).items() if node.get("ManagerStatus", {}).get("Reachability") == "reachable"]


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = FOREVER) -> None:
    manager.docker(
        "service", "create", "--detach", "--no-resolve-image", "--name", name, "--stop-grace-period", "1s", *flags, IMAGE, *command
    )


def managers_but(cluster: Cluster, lost: Daemon) -> list[Daemon]:
    return [cluster.daemons[name] for name in MANAGERS if cluster.daemons[name] is not lost]


def running(cluster: Cluster) -> set[Running]:
    return containers(cluster.daemons.values())


def local_state(daemon: Daemon) -> str:
    return daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}}")


# -- machines and processes die ----------------------------------------------------------------------------------------------------------
def test_a_lost_worker_is_replaced_and_welcomed_back(cluster: Cluster) -> None:
    manager, lost = cluster.daemons["m1"], cluster.daemons["w2"]
    create(manager, "web", "--replicas", "5")
    create(manager, "agent", "--mode", "global")
    manager.wait_running("web", 5)
    manager.wait_running("agent", 5)
    before = {one for one in running(cluster) if one.daemon != "w2"}
    begun = time.monotonic()
    lost.kill()
    cluster.lab.unplug("w2")
    wait_until(lambda: state_of(manager, "w2") == "down", what="the node is down")
    down = time.monotonic() - begun
    gone = nodes(manager)["w2"]["ID"]
    wait_until(lambda: [task["NodeID"] != gone for task in manager.tasks("web")] == [True] * 5, what="its tasks run elsewhere")
    print(f"lost worker: down after {down:.1f} s, replaced after {time.monotonic() - begun:.1f} s")
    assert before <= running(cluster), "nothing else was touched"
    cluster.lab.plug("w2")
    lost.start()
    wait_until(lambda: state_of(manager, "w2") == "ready", what="the node is ready again")
    manager.wait_running("web", 5)
    alive = {task["ID"] for task in (*manager.wait_running("agent", 5), *manager.tasks("web"))}
    wait_until(lambda: {one.task for one in running(cluster)} == alive, what="the containers of its old tasks are gone")
    assert before <= running(cluster)
    assert len(running(cluster)) == 10, "no task runs twice"


def test_a_daemon_that_stood_still_is_lost_and_back_again(cluster: Cluster) -> None:
    manager, still = cluster.daemons["m1"], cluster.daemons["w2"]
    create(manager, "agent", "--mode", "global")
    manager.wait_running("agent", 5)
    before = running(cluster)
    os.kill(still.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(manager, "w2") == "down", what="the node is down")
    os.kill(still.pid, signal.SIGCONT)
    wait_until(lambda: state_of(manager, "w2") == "ready", what="the node is ready again")
    manager.wait_running("agent", 5)
    wait_until(lambda: len(running(cluster)) == 5, what="one task a node")
    assert {one for one in before if one.daemon != "w2"} <= running(cluster)


def test_a_leader_that_vanishes_without_a_word_takes_nobody_along(cluster: Cluster) -> None:
    """No power, no network: no connection is closed, so everyone has to notice the silence."""
    leader = cluster.leader()
    others = managers_but(cluster, leader)
    create(others[0], "web", "--replicas", "5")
    others[0].wait_running("web", 5)
    kept = {one for one in running(cluster) if one.daemon != leader.name}
    with Writer(lambda: others, prefix="gone") as writer:
        wait_until(lambda: len(writer.acknowledged) >= 10, what="ten writes")
        count, begun = len(writer.acknowledged), time.monotonic()
        cluster.lab.unplug(leader.name)
        wait_until(lambda: len(writer.acknowledged) > count + 1, what="a write after the leader's disappearance")
        took = time.monotonic() - begun
        wait_until(lambda: state_of(others[0], leader.name) == "down", what="its node is down")
        assert sorted(states(others[0]).values()) == ["down", *["ready"] * 4], "nobody else is taken for lost"
        print(f"vanished leader: first write after {took:.2f} s, node down after {time.monotonic() - begun:.1f} s")
        wait_until(lambda: len(others[0].tasks("web")) == 5 and len(running(cluster) - kept) >= 2, what="its task runs elsewhere")
        refused = ask(leader, "POST", "/configs/create", {"Name": "alone", "Data": "eA=="}, timeout=20)
        assert (refused.status, "does not have a leader" in refused.message) == (503, True), refused
        assert "does not have a leader" in leader.docker("info", "--format", "{{.Swarm.Error}}")
        cluster.lab.plug(leader.name)
        wait_until(lambda: set(states(others[0]).values()) == {"ready"}, what="it is back")
    assert took <= 5
    wait_until(lambda: leader.get("/nodes"), what="it answers as a manager")
    assert writer.missing(leader) == set()
    assert "alone" not in {row["Spec"]["Name"] for row in leader.get("/configs")}
    alive = {task["ID"] for task in others[0].wait_running("web", 5)}
    wait_until(lambda: {one.task for one in running(cluster)} == alive, what="no task runs twice")
    assert kept <= running(cluster)


def test_a_killed_leader_costs_seconds_and_no_acknowledged_write(cluster: Cluster) -> None:
    patience(cluster.daemons["m1"], "5s")  # for this test and those that follow
    create(cluster.daemons["m1"], "web", "--replicas", "5")
    cluster.daemons["m1"].wait_running("web", 5)
    before = running(cluster)
    leader = cluster.leader()
    others = managers_but(cluster, leader)
    with Writer(lambda: others, prefix="lead") as writer:
        wait_until(lambda: len(writer.acknowledged) >= 20, what="twenty writes")
        count, killed = len(writer.acknowledged), time.monotonic()
        leader.kill()
        wait_until(lambda: len(writer.acknowledged) > count + 1, what="a write after the leader's death")
        took = time.monotonic() - killed
        leader.start()
        wait_until(lambda: leader.get("/nodes") and len(reachable(others[0])) == 3, what="the killed one is a manager again")
    print(f"killed leader: first write after {took:.2f} s, longest gap {writer.longest:.2f} s, {len(writer.acknowledged)} writes")
    assert took <= 5
    for daemon in (*others, leader):
        assert writer.missing(daemon) == set()
    assert running(cluster) == before
    assert {task["ID"] for task in others[0].wait_running("web", 5)} == {one.task for one in before}


@pytest.mark.parametrize("whom", ["worker", "leader"])
def test_a_killed_daemon_goes_on_with_the_same_containers(cluster: Cluster, whom: str) -> None:
    killed = cluster.leader() if whom == "leader" else cluster.daemons["w1"]
    manager = managers_but(cluster, killed)[0]
    create(manager, "web", "--replicas", "5")
    create(manager, "ends", "--constraint", f"node.hostname=={killed.name}", "--restart-condition", "none")
    manager.wait_running("web", 5)
    (ends,) = manager.wait_running("ends", 1)
    container = ends["Status"]["ContainerStatus"]["ContainerID"]
    before = {one for one in running(cluster) if one.container != container}
    killed.kill()
    killed.engine("kill", container)
    killed.start()

    def told() -> bool:
        status = manager.get(f"/tasks/{ends['ID']}")["Status"]
        return status["State"] == "failed" and status["ContainerStatus"]["ExitCode"] == 137

    wait_until(told, what="the exit in its absence is told with its code")
    assert running(cluster) == before
    assert {task["ID"] for task in manager.wait_running("web", 5)} == {one.task for one in before}


def test_a_lost_quorum_and_the_death_of_every_daemon_touch_no_container(cluster: Cluster) -> None:
    first = cluster.daemons["m1"]
    create(first, "web", "--replicas", "5")
    first.wait_running("web", 5)
    before = running(cluster)
    for lost in (managers_but(cluster, first), list(cluster.daemons.values())):
        for daemon in lost:
            daemon.kill()
        if first not in lost:
            refused = ask(first, "POST", "/configs/create", {"Name": "minority", "Data": "eA=="}, timeout=20)
            assert (refused.status, "does not have a leader" in refused.message) == (503, True), refused
        assert running(cluster) == before
        begun = time.monotonic()
        for daemon in lost:
            daemon.start(wait=False)
        wait_until(lambda: set(states(first).values()) == {"ready"} and len(first.tasks("web")) == 5, what="all is as it was")
        print(f"{len(lost)} daemons killed: whole again {time.monotonic() - begun:.1f} s after their start")
        assert running(cluster) == before


def test_a_killed_engine_comes_back_and_its_tasks_go_on(cluster: Cluster) -> None:
    manager, hurt = cluster.daemons["m1"], cluster.daemons["w1"]
    create(manager, "web", "--replicas", "2", "--constraint", "node.hostname==w1")
    manager.wait_running("web", 2)
    before = running(cluster)
    victim = next(iter(before))
    with hurt.listening("events", "--filter", "event=die", "--format", "{{.ID}}") as heard:
        begun, engine = time.monotonic(), hurt.kill_engine()
        wait_until(lambda: hurt.engine("version") and hurt.engine_pid not in (0, engine), what="it is back")
        print(f"killed engine: back after {time.monotonic() - begun:.1f} s")
        assert running(cluster) == before
        assert {task["ID"] for task in manager.wait_running("web", 2)} == {one.task for one in before}
        hurt.engine("kill", victim.container)
        wait_until(lambda: victim.task not in {task["ID"] for task in manager.tasks("web")}, what="its events reach the worker")
        wait_until(lambda: victim.container in heard(), what="and who listened all the while")
    manager.wait_running("web", 2)


# -- restarts that are meant -------------------------------------------------------------------------------------------------------------
def test_restarted_workers_and_managers_lose_no_write_and_no_container(cluster: Cluster) -> None:
    first = cluster.daemons["m1"]
    create(first, "web", "--replicas", "5")
    first.wait_running("web", 5)
    before = running(cluster)
    stops = [cluster.daemons["w1"].stop()]
    cluster.daemons["w1"].start()
    managers = [cluster.daemons[name] for name in MANAGERS]
    with Writer(lambda: managers, prefix="roll") as writer:
        for daemon in managers:
            count = len(writer.acknowledged)
            stops.append(daemon.stop())
            daemon.start()
            wait_until(lambda daemon=daemon: daemon.get("/nodes") and len(reachable(daemon)) == 3, what=f"{daemon.name} is a manager again")
            wait_until(lambda count=count: len(writer.acknowledged) > count, what="writes go on")
        wait_until(lambda: set(states(first).values()) == {"ready"}, what="all are ready")
    print(f"rolling restart: stopped within {max(stops):.1f} s, longest gap {writer.longest:.2f} s, {len(writer.acknowledged)} writes")
    assert max(stops) <= 15
    for daemon in managers:
        assert writer.missing(daemon) == set()
    assert running(cluster) == before
    assert {task["ID"] for task in first.wait_running("web", 5)} == {one.task for one in before}


def test_an_announced_restart_may_take_longer_than_the_heartbeats_allow(cluster: Cluster) -> None:
    manager, away = cluster.daemons["m1"], cluster.daemons["w1"]
    patience(manager, "1s")
    create(manager, "web", "--replicas", "5")
    manager.wait_running("web", 5)
    before = running(cluster)
    away.stop()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert state_of(manager, "w1") == "ready"
        time.sleep(0.25)
    away.start()
    wait_until(lambda: local_state(away) == "active", what="it is back")
    assert running(cluster) == before
    patience(manager, "5s")


# -- nodes are told what to be -----------------------------------------------------------------------------------------------------------
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
    wait_until(lambda: left_behind(removed) == [], what="its tasks are ended")
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
