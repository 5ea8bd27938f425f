"""Encrypted overlays of a real cluster: asked for in every way that Docker knows, keys from the managers, changed every few seconds."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from integration.cluster_rig import Cluster, Daemon, wait_until
from integration.netlab import in_namespace_of
from integration.wiretap import Wiretap

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(180)]
IMAGE = "shoal-lab"
MARK = b"what-only-the-two-of-them-may-read"
STACK = f"""
services:
  echo:
    image: {IMAGE}
    command: [nc, -ll, -p, "8000", -e, cat]
    stop_grace_period: 0s
    networks: [vault]
    deploy: {{replicas: 2, placement: {{constraints: [node.hostname == w1]}}}}
  client:
    image: {IMAGE}
    command: [sleep, "1000"]
    stop_grace_period: 0s
    networks: [vault]
    deploy: {{placement: {{constraints: [node.hostname == w2]}}}}
networks:
  vault:
    driver_opts: {{encrypted: "true"}}
"""


@pytest.fixture
def stack(manager: Daemon, tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "stack.yml"
    file.write_text(STACK)
    manager.docker("stack", "deploy", "--detach=true", "--resolve-image=never", "-c", str(file), "safe")
    manager.wait_running("safe_echo", 2)
    manager.wait_running("safe_client", 1)
    yield
    manager.docker("stack", "rm", "safe")
    wait_until(lambda: "safe_vault" not in manager.docker("network", "ls", "--format", "{{.Name}}"), what="the network goes too")


def client_of(manager: Daemon, node: Daemon) -> tuple[str, int]:
    """The client's container and its process."""
    (task,) = manager.tasks("safe_client")
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    return container, int(node.engine("inspect", "-f", "{{.State.Pid}}", container))


def echoes(connection: socket.socket, text: bytes) -> bool:
    connection.settimeout(15)
    connection.sendall(text)
    heard = b""
    while len(heard) < len(text):
        if not (more := connection.recv(1 << 16)):
            return False
        heard += more
    return heard == text


def connected(pid: int, address: str) -> socket.socket:
    with in_namespace_of(pid):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(5)
    made.connect((address, 8000))
    return made


def rotations(cluster: Cluster) -> int:
    return sum(daemon.log.read_text(errors="replace").count("encrypted networks have a new key") for daemon in cluster.daemons.values())


@pytest.mark.usefixtures("stack")
def test_names_and_connections_work_unread_through_rotations_and_a_killed_daemon(cluster: Cluster, manager: Daemon) -> None:
    node = cluster.daemons["w2"]
    container, pid = client_of(manager, node)
    vip = manager.get("/services/safe_echo")["Endpoint"]["VirtualIPs"][0]["Addr"].split("/")[0]

    def resolved(name: str) -> str:
        return node.docker("exec", container, "nslookup", name)

    assert vip in wait_until(lambda: resolved("echo"), what="the service's name")
    assert wait_until(lambda: resolved("tasks.echo"), what="its tasks'").count("Address") >= 3

    def ask() -> bool:
        with closing(connected(pid, vip)) as connection:
            return echoes(connection, MARK)

    wait_until(ask, what="the service answers")
    with Wiretap(cluster.lab) as tap, closing(connected(pid, vip)) as kept:
        seen, asked = rotations(cluster), 0
        deadline = time.monotonic() + 60
        while rotations(cluster) < seen + 2:
            assert echoes(kept, MARK)
            assert ask()
            asked += 1
            assert time.monotonic() < deadline, "no rotation within a minute"
            time.sleep(0.05)
        assert asked > 10
        node.kill()
        assert echoes(kept, MARK * 100)
        assert ask()
        node.start("--data-key-rotation", "3")
        assert echoes(kept, MARK * 100)
        assert ask()
        assert len(tap.datagrams(to=cluster.daemons["w1"].address, port=4790)) > asked
        assert tap.saw(MARK) == 0
    wait_until(lambda: _states(manager) == {"ready"}, what="the node is back")


def _states(manager: Daemon) -> set[str]:
    return {node["Status"]["State"] for node in manager.get("/nodes")}


@pytest.mark.usefixtures("stack")
def test_the_option_shows_and_the_driver_is_announced(cluster: Cluster, manager: Daemon) -> None:
    (network,) = json.loads(manager.docker("network", "inspect", "safe_vault"))
    assert network["Options"]["encrypted"] == "true"
    assert "name=overlay-encryption,driver=userspace" in manager.get("/info")["SecurityOptions"]
    for node in manager.get("/nodes"):
        assert {"Type": "OverlayEncryption", "Name": "userspace"} in node["Description"]["Engine"]["Plugins"]
    for daemon in cluster.daemons.values():
        assert "encrypted networks: userspace" in daemon.log.read_text(errors="replace")


def test_docker_py_and_the_command_line_ask_for_one_and_a_guest_joins_it(cluster: Cluster, manager: Daemon) -> None:
    with closing(docker.DockerClient(base_url=manager.url)) as client:
        made = client.networks.create("vault", driver="overlay", attachable=True, options={"encrypted": ""})
        try:
            assert made.attrs["Options"]["encrypted"] == ""
            there, here = cluster.daemons["w1"], cluster.daemons["w2"]
            server = there.docker("run", "-d", "--network", "vault", "--name", "safe", IMAGE, "nc", "-ll", "-p", "8000", "-e", "cat")
            try:
                said = here.docker("run", "--rm", "--network", "vault", IMAGE, "sh", "-c", "echo hello | nc -w 3 safe 8000")
                assert said == "hello"
            finally:
                there.docker("rm", "-f", server)
        finally:
            wait_until(lambda: manager.docker("network", "rm", "vault"), what="the network can be removed")
    manager.docker("network", "create", "-d", "overlay", "--opt", "encrypted", "vault2")
    assert manager.docker("network", "inspect", "-f", "{{.Options.encrypted}}", "vault2") == ""
    manager.docker("network", "rm", "vault2")
