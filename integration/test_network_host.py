"""What the data plane promises of a host, on a real cluster whose underlay lies in the middle of the address pool."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.netlab import why_no_engine

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(240)]
IMAGE = "shoal-lab"
SERVER = ("httpd", "-f", "-p", "8000", "-h", "/etc")
"""Whoever asks for /hostname learns which container answered."""
ASK = "printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {} {} | busybox tail -n 1"


@pytest.fixture(scope="module")
def pair(archive: Path) -> Iterator[Cluster]:
    """A manager and a worker in 10.0.0.0/24, the first subnet of the default pool."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-host-"))
    with Cluster("host", folder, network="10.0.0") as cluster:
        cluster.bring_up(managers=1, workers=1, archive=archive, image=IMAGE)
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def manager(pair: Cluster) -> Daemon:
    return pair.daemons["m1"]


@pytest.fixture
def worker(pair: Cluster) -> Daemon:
    return pair.daemons["w1"]


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = SERVER) -> str:
    return manager.docker("service", "create", "--name", name, "--detach", *flags, IMAGE, *command)


def remove(manager: Daemon, *services: str) -> None:
    manager.docker("service", "rm", *services)
    for name in services:
        wait_until(lambda name=name: not manager.engine("ps", "-aq", "--filter", f"name=^{name}\\."), what=f"{name} is gone")  # type: ignore[misc]


def container(daemon: Daemon, service: str) -> str:
    return wait_until(lambda: daemon.engine("ps", "-q", "--filter", f"name=^{service}\\."), what=f"{service} runs here").split()[0]


# -- addresses ---------------------------------------------------------------------------------------------------------------------------
def host_networks(daemon: Daemon) -> set[str]:
    """Networks that the host had before us: what its interfaces other than ours and the engine's lead to."""
    lines = daemon.host.run("ip", "-4", "route", "show", "table", "main").splitlines()
    return {line.split()[0] for line in lines if not re.search(r"dev (sb-|shoal|docker)", line) and line[0].isdigit()}


def subnet(manager: Daemon, network: str) -> IPv4Network:
    return IPv4Network(json.loads(manager.docker("network", "inspect", network))[0]["IPAM"]["Config"][0]["Subnet"])


def check_apart(cluster: Cluster, manager: Daemon, networks: list[str]) -> None:
    for daemon in cluster.daemons.values():
        for route in host_networks(daemon):
            for name in networks:
                assert not subnet(manager, name).overlaps(IPv4Network(route)), f"{name} meets {route} of {daemon.name}"


def test_no_network_meets_an_underlay_in_the_first_subnet_of_the_pool(pair: Cluster, manager: Daemon, worker: Daemon) -> None:
    assert "10.0.0.0/24" in host_networks(worker)
    for name in ("left", "right"):
        manager.docker("network", "create", "-d", "overlay", name)
    create(manager, "web", "--network", "left", "--network", "right", "--mode", "global", "-p", "8080:8000")
    manager.wait_running("web", 2)
    wait_until(lambda: subnet(manager, "left") and subnet(manager, "right"), what="both have a subnet")
    check_apart(pair, manager, ["left", "right", "ingress"])
    assert worker.host.run("busybox", "ping", "-c1", "-W2", manager.address), "the hosts still reach one another"
    remove(manager, "web")
    manager.docker("network", "rm", "left", "right")


def test_no_network_meets_an_underlay_that_is_larger_than_any_subnet(archive: Path) -> None:
    """One manager in 10.0.0.0/16, with a route to 10.1.0.0/24 behind a neighbour."""
    with tempfile.TemporaryDirectory(prefix="shoal-wide-") as folder, Cluster("wide", Path(folder), network="10.0.0") as cluster:
        daemon = cluster.add("m1", prefix=16)
        daemon.host.run("ip", "route", "add", "10.1.0.0/24", "via", "10.0.0.77")
        daemon.start()
        daemon.import_image(IMAGE, archive, "ENV PATH=/bin")
        daemon.docker("swarm", "init", "--advertise-addr", daemon.address)
        for name in ("left", "right"):
            daemon.docker("network", "create", "-d", "overlay", name)
        create(daemon, "web", "--network", "left", "--network", "right")
        daemon.wait_running("web", 1)
        assert {"10.0.0.0/16", "10.1.0.0/24"} <= host_networks(daemon)
        check_apart(cluster, daemon, ["left", "right", "ingress"])


def test_a_full_network_is_foretold_explained_with_its_figures_and_goes_on_once_there_is_room(manager: Daemon) -> None:
    manager.docker("network", "create", "-d", "overlay", "--subnet", "10.44.0.0/29", "narrow")
    create(manager, "many", "--network", "narrow", "--replicas", "6", command=("sleep", "1000"))
    manager.wait_running("many", 4)
    full = "network narrow (10.44.0.0/29) has no free address: 5 of 5 in use"
    wait_until(lambda: manager.shoal("service", "why", "many").count(full) == 2, what="two tasks say why they wait")
    assert "WARNING: network narrow (10.44.0.0/29) has 5 of 5 addresses in use" in warnings(manager)
    left = "network narrow (10.44.0.0/29) has 0 of 5 addresses left, and service other wants 3 more: some of its tasks will wait"
    assert left in said_by(manager, "service", "create", "--name", "other", "--network", "narrow", "--replicas", "2", "--detach", IMAGE)
    manager.docker("service", "rm", "other")
    manager.docker("service", "scale", "--detach", "many=1")
    wait_until(lambda: "narrow" not in warnings(manager), what="the warning goes with the tasks")
    manager.wait_running("many", 1)
    remove(manager, "many")
    manager.docker("network", "rm", "narrow")


def warnings(manager: Daemon) -> str:
    return " ".join(manager.get("/info")["Warnings"] or ())


def said_by(manager: Daemon, *arguments: str) -> str:
    """What the stock CLI says beside its answer."""
    done = subprocess.run(("docker", "-H", manager.url, *arguments), capture_output=True, text=True, check=True, timeout=60)
    return done.stderr


# -- other people's hands ------------------------------------------------------------------------------------------------------------------
def test_a_container_named_like_a_service_takes_nothing_from_it(manager: Daemon) -> None:
    manager.docker("network", "create", "-d", "overlay", "--attachable", "front")
    manager.docker("run", "-d", "--name", "web", IMAGE, "sleep", "1000")
    create(manager, "web", "--network", "front", "--constraint", "node.hostname==m1")
    manager.wait_running("web", 1)
    manager.docker("run", "-d", "--name", "client", "--network", "front", IMAGE, "sleep", "1000")

    def asked(name: str) -> str:
        return manager.docker("exec", "client", "sh", "-c", ASK.format(name, 8000))

    web = container(manager, "web")
    wait_until(lambda: asked("web") == web, what="the service answers under its name")
    assert manager.docker("inspect", "--type", "container", "--format", "{{.Name}}", "web") == "/web"
    manager.docker("rm", "-f", "web")
    assert manager.docker("service", "ls", "--filter", "name=web", "--format", "{{.Replicas}}") == "1/1", "rm meant the container"
    manager.docker("rm", "-f", "client")
    remove(manager, "web")
    wait_until(lambda: manager.docker("network", "rm", "front"), what="the network is free")


def test_docker_restart_of_a_task_brings_another_one_that_is_reached(manager: Daemon, worker: Daemon) -> None:
    manager.docker("network", "create", "-d", "overlay", "back")
    create(manager, "restarted", "--network", "back", "--constraint", "node.hostname==w1", "-p", "8081:8000", "--restart-delay", "0s")
    manager.wait_running("restarted", 1)
    first = container(worker, "restarted")

    def answer() -> str:
        return worker.host.run("sh", "-c", ASK.format("127.0.0.1", 8081)).strip()

    wait_until(lambda: answer() == first, what="the first task answers")
    with suppress(CommandFailed):  # the engine refuses if the task's files are gone by the time it starts it again
        worker.docker("restart", "-t", "0", first)
    wait_until(lambda: answer() not in ("", first), what="another task answers")
    (task,) = manager.wait_running("restarted", 1)
    assert task["Status"]["ContainerStatus"]["ContainerID"][:12] != first
    running = ("ps", "-q", "--filter", "name=^restarted\\.")
    wait_until(lambda: len(worker.engine(*running).split()) == 1, what="the restarted one is stopped: it is no task of ours")
    remove(manager, "restarted")
    manager.docker("network", "rm", "back")


def test_names_and_ports_answer_through_a_kill_9_of_the_daemon(manager: Daemon, worker: Daemon, pair: Cluster) -> None:
    manager.docker("network", "create", "-d", "overlay", "kept")
    create(manager, "kept_web", "--network", "kept", "-p", "8082:8000", "--constraint", "node.hostname==m1")
    look = "while true; do nslookup -type=a kept_web >/dev/null 2>&1 && echo found || echo missed; done"
    create(manager, "asker", "--network", "kept", "--constraint", "node.hostname==w1", command=("sh", "-c", look))
    manager.wait_running("kept_web", 1)
    manager.wait_running("asker", 1)
    web, asker = container(manager, "kept_web"), container(worker, "asker")

    def lookups() -> list[str]:
        return worker.engine("logs", asker).split()

    wait_until(lambda: "found" in lookups(), what="names are answered")
    before = len(lookups())
    world = pair.client()
    for _ in range(2):
        worker.kill()
        for _ in range(20):
            assert world.run("sh", "-c", ASK.format(worker.address, 8082)).strip() == web
        worker.start()
    wait_until(lambda: len(lookups()) > before + 20, what="many more lookups")
    assert "missed" not in lookups()[before:]
    assert container(worker, "asker") == asker
    remove(manager, "kept_web", "asker")
    manager.docker("network", "rm", "kept")
    pair.lab.remove("client")


# -- nothing is left -----------------------------------------------------------------------------------------------------------------------
STACK = """
services:
  web:
    image: shoal-lab
    command: sleep 1000
    networks: [front, back]
    ports: ["8090:8000", "8091:8000/udp"]
    stop_grace_period: 0s
    deploy: {mode: global}
  alone:
    image: shoal-lab
    command: sleep 1000
    ports: ["8092:8000"]
    stop_grace_period: 0s
networks:
  front: {}
  back: {internal: true}
"""


def traces(daemon: Daemon) -> dict[str, object]:
    """What a stack makes on a host, counted."""
    assert daemon.process is not None
    descriptors = Path(f"/proc/{daemon.pid}/fd")
    threads = Path(f"/proc/{daemon.pid}/task")
    conntrack = daemon.host.run("conntrack", "-L").splitlines()
    return {
        "namespaces": len(namespaces_of(daemon)),
        "links": daemon.host.run("ip", "-br", "link").count("\n"),
        "tables": daemon.host.run("nft", "list", "tables"),
        "elements": len(re.findall(r"8090|8091|8092", daemon.host.run("nft", "list", "ruleset"))),
        "zones": sum("zone" in line and re.search(r"dport=809[012]", line) is not None for line in conntrack),
        "rules": daemon.host.run("ip", "rule"),
        "networks": daemon.engine("network", "ls", "--format", "{{.Name}}"),
        "descriptors": len(list(descriptors.iterdir())),
        "threads": len(list(threads.iterdir())),
        "files": sorted(str(path) for path in (daemon.folder / "run" / "network").rglob("*") if path.is_file()),
    }


def namespaces_of(daemon: Daemon) -> set[int]:
    """Network namespaces that a process or a mount below the daemon's folder holds."""
    mark = os.fsencode(f"{daemon.folder}/")
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "cmdline").read_bytes():
                found.add(os.stat(process / "ns/net").st_ino)
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " nsfs " in line)
    found |= {os.stat(mount).st_ino for mount in mounts if mount.startswith(str(daemon.folder))}
    return found


@pytest.mark.parametrize("cycles", [4, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_a_stack_that_comes_and_goes_leaves_a_host_as_it_was(pair: Cluster, manager: Daemon, tmp_path: Path, cycles: int) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(STACK)

    def cycle() -> None:
        manager.shoal("stack", "deploy", "-c", str(file), "turn")
        manager.wait_running("turn_web", 2)
        manager.shoal("stack", "rm", "turn")
        for daemon in pair.daemons.values():
            wait_until(lambda daemon=daemon: not daemon.engine("ps", "-aq", "--filter", "name=turn_"), what="its containers are gone")  # type: ignore[misc]
        wait_until(lambda: "turn_" not in manager.docker("network", "ls"), what="its networks are gone")

    cycle()  # what is there once and for all: the node link's first neighbours, connections to the engine, the name server
    settled = {name: settle(daemon) for name, daemon in pair.daemons.items()}
    for _ in range(cycles):
        cycle()
    for name, daemon in pair.daemons.items():
        with suppress(TimeoutError):
            wait_until(lambda name=name, daemon=daemon: not changed(settled[name], daemon), what="it is as it was", seconds=20)  # type: ignore[misc]
        assert changed(settled[name], daemon) == {}, name


def settle(daemon: Daemon) -> dict[str, object]:
    """Its traces once they have stopped changing."""
    found = [traces(daemon)]

    def same() -> bool:
        found.append(traces(daemon))
        return found[-1] == found[-2]

    wait_until(same, what="nothing changes any more", every=1)
    return found[-1]


def changed(before: dict[str, object], daemon: Daemon) -> dict[str, object]:
    now = traces(daemon)
    return {key: (before[key], now[key]) for key in before if _more(before[key], now[key])}


SLACK = 3
"""Connections that are kept for the next request come and go."""


def _more(before: object, now: object) -> bool:
    return now > before + SLACK if isinstance(before, int) and isinstance(now, int) else now != before
