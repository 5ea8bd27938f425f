"""The tests of this folder share one cluster, three managers and two workers; each leaves it whole."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, wait_until
from integration.faults.rig import IMAGE, reachable, states
from integration.netlab import why_no_engine


@pytest.fixture(scope="package")
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
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test on the cluster ends with five ready nodes, three of them managers, and without services."""
    yield
    if "cluster" not in request.fixturenames:
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    for name in cluster.daemons:
        cluster.lab.plug(name)
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
