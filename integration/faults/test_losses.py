"""Machines, processes and engines die or fall silent."""

import os
import shutil
import signal
import time

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.faults.rig import create, managers_but, nodes, patience, reachable, running, state_of, states
from integration.witness import Writer, ask

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]


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


def test_a_manager_whose_log_was_taken_away_elects_nobody_until_it_has_begun_anew(cluster: Cluster) -> None:
    """It and one that was behind would be a majority that lacks what was acknowledged."""
    leader = cluster.leader()
    lost, behind = managers_but(cluster, leader)
    create(leader, "web", "--replicas", "5")
    leader.wait_running("web", 5)
    before = running(cluster)
    patience(leader, "30s")
    behind.kill()
    leader.docker("config", "create", "acknowledged", "-", stdin=b"x")
    for daemon in (leader, lost):
        daemon.kill()
    shutil.rmtree(lost.folder / "data" / "swarm" / "raft")
    behind.start()
    lost.start()
    wait_until(lambda: "log is gone" in _trouble(lost), what="it says what is wrong")
    with pytest.raises(CommandFailed, match="log is gone"):
        lost.docker("node", "ls")
    time.sleep(5)  # many election timeouts
    assert "shoal_raft_is_leader 1.0" not in ask(behind, "GET", "/metrics").body
    leader.start()
    wait_until(lambda: len(reachable(behind)) == 3 and lost.get("/nodes"), what="it has begun anew")
    for daemon in (leader, lost, behind):
        assert daemon.docker("config", "inspect", "--format", "{{.Spec.Name}}", "acknowledged") == "acknowledged"
    wait_until(lambda: set(states(leader).values()) == {"ready"}, what="all is as it was")
    assert {task["ID"] for task in leader.wait_running("web", 5)} == {one.task for one in before}
    assert running(cluster) == before
    leader.docker("config", "rm", "acknowledged")
    patience(leader, "5s")


def _trouble(daemon: Daemon) -> str:
    return daemon.docker("info", "--format", "{{.Swarm.Error}}")


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
