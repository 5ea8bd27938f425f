"""A real cluster is hurt in every way that machines, processes and people know; what was acknowledged stays, what runs goes on.

The tests share one cluster and run in the order of this file, each leaving it whole: three managers, two workers.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, Daemon, wait_until
from integration.netlab import why_no_engine
from integration.witness import Running, Writer, containers

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]
IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
MANAGERS, WORKERS = ("m1", "m2", "m3"), ("w1", "w2")


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[Cluster]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-faults-"))
    with Cluster("faults", folder, network="10.97.0") as running:
        first = running.bring_up(managers=3, workers=2, archive=archive, image=IMAGE)
        wait_until(lambda: len(voters(first)) == 3, what="three managers agree")
        patience(first, "5s")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins and ends with five ready nodes, three of them managers, and no services."""
    yield
    if "cluster" not in request.fixturenames:
        return
    running: Cluster = request.getfixturevalue("cluster")
    for daemon in running.daemons.values():
        if daemon.process is None or daemon.process.poll() is not None:
            daemon.start(wait=False)
    for daemon in running.daemons.values():
        daemon.wait_ready()
    manager = running.daemons["m1"]
    if services := manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    wait_until(lambda: set(states(manager).values()) == {"ready"}, what="all nodes are ready")


def patience(manager: Daemon, heartbeat: str) -> None:
    """A node is lost after three heartbeats; a busy machine may need more than three seconds to start a killed daemon again."""
    manager.docker("swarm", "update", "--dispatcher-heartbeat", heartbeat)


def nodes(asked: Daemon) -> dict[str, dict[str, object]]:
    return {node["Description"]["Hostname"]: node for node in asked.get("/nodes")}


def states(asked: Daemon) -> dict[str, str]:
    return {name: node["Status"]["State"] for name, node in nodes(asked).items()}


def voters(asked: Daemon) -> list[str]:
    return [name for name, node in nodes(asked).items() if node.get("ManagerStatus", {}).get("Reachability") == "reachable"]


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = FOREVER) -> None:
    manager.docker(
        "service", "create", "--detach", "--no-resolve-image", "--name", name, "--stop-grace-period", "1s", *flags, IMAGE, *command
    )


def survivors(cluster: Cluster, lost: Daemon) -> list[Daemon]:
    return [cluster.daemons[name] for name in MANAGERS if cluster.daemons[name] is not lost]


def containers_of(cluster: Cluster) -> set[Running]:
    return containers(cluster.daemons.values())


def test_a_killed_leader_costs_seconds_and_no_acknowledged_write(cluster: Cluster) -> None:
    create(cluster.daemons["m1"], "web", "--replicas", "5")
    cluster.daemons["m1"].wait_running("web", 5)
    before = containers_of(cluster)
    assert len(before) == 5
    leader = cluster.leader()
    others = survivors(cluster, leader)
    with Writer(lambda: others, prefix="lead") as writer:
        wait_until(lambda: len(writer.acknowledged) >= 20, what="twenty writes")
        killed = time.monotonic()
        leader.kill()
        count = len(writer.acknowledged)
        wait_until(lambda: len(writer.acknowledged) > count + 1, what="a write after the leader's death")
        took = time.monotonic() - killed
        assert took <= 5
        leader.start()
        wait_until(lambda: leader.get("/nodes") and len(voters(others[0])) == 3, what="the killed one is a manager again")
        wait_until(lambda: set(states(others[0]).values()) == {"ready"}, what="all are ready")
    for daemon in (*others, leader):
        assert writer.missing(daemon) == set()
    print(f"failover {took:.2f} s, longest gap {writer.longest:.2f} s, {len(writer.acknowledged)} writes, refused {len(writer.refusals)}")
    assert containers_of(cluster) == before
    assert len(cluster.daemons["m1"].tasks("web")) == 5


def test_a_lost_worker_is_replaced_and_welcomed_back(cluster: Cluster) -> None:
    manager, lost = cluster.daemons["m1"], cluster.daemons["w2"]
    create(manager, "web", "--replicas", "5")
    create(manager, "agent", "--mode", "global")
    manager.wait_running("web", 5)
    manager.wait_running("agent", 5)
    before = containers_of(cluster)
    patience(manager, "1s")
    begun = time.monotonic()
    lost.kill()
    cluster.lab.unplug("w2")
    wait_until(lambda: states(manager)["w2"] == "down", what="the node is down", seconds=30)
    down = time.monotonic() - begun
    fresh = manager.wait_running("web", 5, seconds=20)
    moved = time.monotonic() - begun
    gone = nodes(manager)["w2"]["ID"]
    assert all(task["NodeID"] != gone for task in fresh)
    print(f"noticed after {down:.1f} s, replaced after {moved:.1f} s")
    assert {one for one in before if one.daemon != "w2"} <= containers_of(cluster), "nothing else was touched"
    patience(manager, "5s")
    cluster.lab.plug("w2")
    lost.start()
    wait_until(lambda: states(manager)["w2"] == "ready", what="the node is ready again", seconds=20)
    alive = {task["ID"] for task in (*manager.wait_running("web", 5), *manager.wait_running("agent", 5))}
    wait_until(lambda: {one.task for one in containers_of(cluster)} == alive, what="the old tasks' containers are ended")
    assert {one for one in before if one.daemon != "w2"} <= containers_of(cluster)
    assert len(containers_of(cluster)) == 10


@pytest.mark.parametrize("whom", ["worker", "leader"])
def test_a_killed_daemon_goes_on_with_the_same_containers(cluster: Cluster, whom: str) -> None:
    killed = cluster.leader() if whom == "leader" else cluster.daemons["w1"]
    manager = survivors(cluster, killed)[0]
    create(manager, "web", "--replicas", "5")
    create(manager, "ends", "--constraint", f"node.hostname=={killed.name}", "--restart-condition", "none")
    manager.wait_running("web", 5)
    (ends,) = manager.wait_running("ends", 1)
    container = ends["Status"]["ContainerStatus"]["ContainerID"]
    before = {one for one in containers_of(cluster) if one.container != container}
    killed.kill()
    killed.engine("kill", container)
    killed.start()
    wait_until(lambda: set(states(manager).values()) == {"ready"} or None, what="all are ready")

    def ended() -> bool:
        task = manager.get(f"/tasks/{ends['ID']}")
        return bool(task["Status"]["State"] == "failed" and task["Status"]["ContainerStatus"]["ExitCode"] == 137)

    wait_until(ended, what="the exit in its absence is told with its code")
    assert containers_of(cluster) == before
    assert {task["ID"] for task in manager.wait_running("web", 5)} == {one.task for one in before}
