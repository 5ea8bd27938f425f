"""One real cluster for the tests that only look at it or add to it; tests that break nodes bring up their own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import leftovers
from integration.cluster_rig import Cluster, Daemon, busybox_archive
from integration.netlab import why_no_engine

IMAGE = "shoal-lab"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One folder for all that a run makes."""
    home = leftovers.begin()
    if not hasattr(config, "workerinput"):  # the process that the others are started by
        config.option.basetemp = config.option.basetemp or str(home / "t")
        leftovers.sweep(home)
        config.add_cleanup(lambda: leftovers.clear(home))


@pytest.fixture(scope="session")
def archive() -> Iterator[Path]:
    """A root file system to import as an image."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-image-"))
    yield busybox_archive(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(archive: Path) -> Iterator[Cluster]:
    """Three managers and two workers, with the image `shoal-lab` on each."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-cluster-"))
    with Cluster("tests", folder, network="10.98.0") as running:
        running.bring_up("--data-key-rotation", "3", managers=3, workers=2, archive=archive, image=IMAGE)
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def manager(cluster: Cluster) -> Daemon:
    return cluster.daemons["m1"]


@pytest.fixture(scope="session")
def outsider(cluster: Cluster) -> Iterator[Daemon]:
    """A daemon on the cluster's switch that is in no swarm; tests leave it so."""
    daemon = Daemon(cluster.lab.host("out", "10.98.0.60/24"), "out", cluster.folder / "out")
    try:
        yield daemon.start("--metrics-addr", "127.0.0.1:9323")
    finally:
        daemon.destroy()
