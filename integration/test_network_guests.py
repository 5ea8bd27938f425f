"""`docker run --network` on an attachable overlay, through the proxy of a manager and of a worker."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.netlab import why_no_engine

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(180)]
IMAGE = "shoal-lab"


@pytest.fixture(scope="module")
def swarm(archive: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """A manager and a worker, an attachable network, a service on it."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-guests-"))
    with Cluster("guests", folder, network="10.92.0") as cluster:
        manager = cluster.bring_up(managers=1, workers=1, archive=archive, image=IMAGE)
        worker = cluster.daemons["w1"]
        manager.docker("network", "create", "--driver", "overlay", "--attachable", "front")
        manager.docker("network", "create", "--driver", "overlay", "closed")
        server = ("sh", "-c", 'while true; do echo "hello from $HOSTNAME" | nc -l -p 8000; done')
        manager.docker("service", "create", "--name", "web", "--replicas", "2", "--network", "front", "--detach", IMAGE, *server)
        manager.wait_running("web", 2)
        yield manager, worker
    shutil.rmtree(folder, ignore_errors=True)


def guests(manager: Daemon) -> dict[str, str]:
    """Name -> address, as the network shows them beside the service's tasks."""
    shown = json.loads(manager.docker("network", "inspect", "front"))[0]["Containers"] or {}
    return {one["Name"]: one["IPv4Address"].partition("/")[0] for one in shown.values() if not one["Name"].startswith("web.")}


def asked(daemon: Daemon, container: str, name: str) -> str:
    return daemon.docker("exec", container, "sh", "-c", f"echo | nc -w 3 {name} 8000")


@pytest.mark.parametrize("by", [0, 1], ids=["on a manager", "on a worker"])
def test_a_container_reaches_services_by_name_and_gives_its_address_back(swarm: tuple[Daemon, Daemon], by: int) -> None:
    manager, daemon = swarm[0], swarm[by]
    daemon.docker("run", "-d", "--name", "box", "--network", "front", IMAGE, "sleep", "1000")
    address = guests(manager)["box"]
    shown = json.loads(daemon.docker("inspect", "box"))[0]["NetworkSettings"]["Networks"]
    assert {name: one["IPAddress"] for name, one in shown.items()} == {"front": address}
    on_network = json.loads(daemon.docker("network", "inspect", "front"))[0]["Containers"] if by == 0 else {}
    assert by or set(on_network) == set(daemon.docker("ps", "-q", "--no-trunc", "--filter", "network=front").split())
    for _ in range(4):
        wait_until(lambda: asked(daemon, "box", "web").startswith("hello from "), what="the service answers", seconds=15)

    daemon.docker("restart", "-t", "0", "box")
    assert guests(manager)["box"] == address
    wait_until(lambda: asked(daemon, "box", "web").startswith("hello from "), what="and after a restart", seconds=15)

    daemon.docker("rm", "-f", "box")
    wait_until(lambda: "box" not in guests(manager), what="the address is free again", seconds=15)


def test_a_container_is_reached_from_the_other_node_by_its_name(swarm: tuple[Daemon, Daemon]) -> None:
    manager, worker = swarm
    server = ("sh", "-c", "while true; do echo it is me | nc -l -p 8000; done")
    worker.docker("run", "-d", "--name", "served", "--network", "front", IMAGE, *server)
    manager.docker("run", "-d", "--name", "client", "--network", "front", "--ip", _free(manager), IMAGE, "sleep", "1000")
    wait_until(lambda: asked(manager, "client", "served") == "it is me", what="the other container answers", seconds=20)
    assert guests(manager)["client"] == _free(manager)
    worker.docker("rm", "-f", "served")
    manager.docker("rm", "-f", "client")
    wait_until(lambda: not guests(manager), what="both are gone", seconds=15)


def test_a_daemon_that_was_away_gives_back_what_went_meanwhile(swarm: tuple[Daemon, Daemon]) -> None:
    manager, worker = swarm
    worker.docker("run", "-d", "--name", "brief", "--network", "front", IMAGE, "sleep", "1000")
    assert "brief" in guests(manager)
    worker.kill()
    worker.engine("rm", "-f", "brief")
    worker.start()
    wait_until(lambda: "brief" not in guests(manager), what="the address is free again", seconds=30)


@pytest.mark.parametrize("by", [0, 1], ids=["on a manager", "on a worker"])
def test_what_cannot_be_joined_is_refused_in_dockers_words(swarm: tuple[Daemon, Daemon], by: int) -> None:
    daemon = swarm[by]
    with pytest.raises(CommandFailed, match="network closed not manually attachable"):
        daemon.docker("run", "--rm", "--network", "closed", IMAGE, "true")
    with pytest.raises(CommandFailed, match="network nowhere not found"):
        daemon.docker("run", "--rm", "--network", "nowhere", IMAGE, "true")


def test_a_running_container_joins_and_leaves(swarm: tuple[Daemon, Daemon]) -> None:
    manager, worker = swarm
    worker.docker("run", "-d", "--name", "late", IMAGE, "sleep", "1000")
    for _ in range(5):
        worker.docker("network", "connect", "front", "late")
        assert "late" in guests(manager)
        with pytest.raises(CommandFailed, match="endpoint with name late already exists in network front"):
            worker.docker("network", "connect", "front", "late")
        worker.docker("network", "disconnect", "front", "late")
        with pytest.raises(CommandFailed, match="is not connected to network front"):
            worker.docker("network", "disconnect", "front", "late")
        wait_until(lambda: "late" not in guests(manager), what="it left", seconds=15)
    worker.docker("rm", "-f", "late")


def _free(manager: Daemon) -> str:
    """An address of the network that nobody is likely to have."""
    subnet = json.loads(manager.docker("network", "inspect", "front"))[0]["IPAM"]["Config"][0]["Subnet"]
    return str(subnet.rpartition(".")[0]) + ".99"
