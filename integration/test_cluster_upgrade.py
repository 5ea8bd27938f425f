"""A rolling upgrade, manager by manager, of a cluster that is in use: the old commands work throughout, the new one when all can do it.

The older version is this one, told to keep to the level before (`shoald --feature-level`).
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.api.features import LEVEL
from integration.clients import Clients
from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.faults.rig import IMAGE, MANAGERS, create, reachable, running, states
from integration.netlab import why_no_engine
from integration.verdict import nothing_is_lost
from integration.witness import ask

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(180)]
OLD = ("--feature-level", str(LEVEL - 1))
NEW_COMMAND = ("run", "--rm", "--network", "attach", IMAGE, "true")


@pytest.fixture
def cluster(archive: Path) -> Iterator[Cluster]:
    """Three managers of the older version; `late`, in no swarm."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-upgrade-"))
    with Cluster("upgrade", folder, network="10.92.0") as made:
        daemons = [made.add(name).start(*OLD, wait=False) for name in (*MANAGERS, "late")]
        for daemon in daemons:
            daemon.wait_ready()
            daemon.import_image(IMAGE, archive, "ENV PATH=/bin")
        first = daemons[0]
        first.docker("swarm", "init", "--advertise-addr", first.address)
        for daemon in daemons[1:3]:
            made.join(daemon, first, "manager")
        wait_until(lambda: len(reachable(first)) == 3, what="three managers agree")
        first.docker("swarm", "update", "--dispatcher-heartbeat", "10s")
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def level(daemon: Daemon) -> float:
    rows: list[str] = ask(daemon, "GET", "/metrics").body.splitlines()
    return next(float(row.split()[1]) for row in rows if row.startswith("shoal_feature_level "))


def test_managers_are_upgraded_one_by_one_under_load(cluster: Cluster) -> None:
    managers = [cluster.daemons[name] for name in MANAGERS]
    first, late = managers[0], cluster.daemons["late"]
    create(first, "web", "--replicas", "3")
    first.wait_running("web", 3)
    first.docker("network", "create", "-d", "overlay", "--attachable", "attach")
    before = running(cluster)
    assert level(first) == LEVEL - 1
    with pytest.raises(CommandFailed, match=f"takes feature level {LEVEL} of every manager, and this swarm is at {LEVEL - 1}: upgrade"):
        first.docker("exec", _container(first, elsewhere="m1"), "true")
    leader = cluster.leader()
    with Clients(managers, seed=2) as clients:
        for place, daemon in enumerate((*(one for one in managers if one is not leader), leader)):
            with pytest.raises(
                CommandFailed, match=f"takes feature level {LEVEL} of every manager, and this swarm is at {LEVEL - 1}: upgrade"
            ):
                managers[place].docker(*NEW_COMMAND)
            daemon.stop()
            daemon.start()
            wait_until(lambda daemon=daemon: daemon.get("/nodes") and len(reachable(daemon)) == 3, what=f"{daemon.name} is a manager again")
            create(daemon, f"web-{place}", "--replicas", "1")
            daemon.wait_running(f"web-{place}", 1)
        wait_until(lambda: {level(daemon) for daemon in managers} == {LEVEL}, what="the swarm's level rose")
        for daemon in managers:
            daemon.docker(*NEW_COMMAND)
    nothing_is_lost(managers, clients)
    assert before <= running(cluster)
    wait_until(lambda: set(states(first).values()) == {"ready"}, what="all nodes are ready")
    _no_way_back(cluster, managers[1], late)


def _no_way_back(cluster: Cluster, manager: Daemon, late: Daemon) -> None:
    """An older version can neither join as a manager, nor be promoted, nor come back as one."""
    first = cluster.daemons["m1"]
    cure = f"feature level {LEVEL - 1} and cannot be a manager of this swarm, which is at level {LEVEL}: install the version of the other"
    with pytest.raises(CommandFailed, match=cure):
        cluster.join(late, first, "manager")
    assert late.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    cluster.join(late, first, "worker")
    with pytest.raises(CommandFailed, match=cure):
        first.docker("node", "promote", "late")
    create(first, "old", "--constraint", "node.hostname==late")
    first.wait_running("old", 1)
    with pytest.raises(CommandFailed, match=f"node late runs a version of feature level {LEVEL - 1}, and reaching containers"):
        first.docker("exec", _container(first, service="old"), "true")
    manager.stop()
    manager.start(*OLD)
    wait_until(lambda: f"feature level {LEVEL - 1} and the swarm is at {LEVEL}" in _trouble(manager), what="it says what is wrong with it")
    first.docker("config", "create", "without-it", "-", stdin=b"x")
    manager.stop()
    manager.start()
    wait_until(lambda: len(reachable(manager)) == 3, what="the newer version is a manager again")
    late.stop()
    late.start()
    wait_until(lambda: "late" in first.docker("node", "promote", "late"), what="the worker was upgraded and can be promoted")
    wait_until(lambda: len(reachable(first)) == 4, what="it is a manager")


def _container(manager: Daemon, *, service: str = "web", elsewhere: str = "") -> str:
    """Of one of a service's tasks, on another node than that."""
    names = {node["ID"]: node["Description"]["Hostname"] for node in manager.get("/nodes")}
    found = (task for task in manager.tasks(service) if names[task["NodeID"]] != elsewhere)
    return str(next(found)["Status"]["ContainerStatus"]["ContainerID"])


def _trouble(daemon: Daemon) -> str:
    return daemon.docker("info", "--format", "{{.Swarm.Error}}")
