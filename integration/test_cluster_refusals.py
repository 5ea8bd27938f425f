"""What people get wrong, tried for real with both command lines: one clear line, exit status 1, nothing lost, every daemon alive.

The requests that no command line would send are in test_cluster_statuses.py; what keeps a daemon from starting in test_daemon_refusals.py.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.raw_http import VERSION, call, connected, exchange

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
CLIS = ("docker", "shoal")


@pytest.fixture(autouse=True)
def unharmed(cluster: Cluster) -> Iterator[None]:
    """Each test leaves every daemon as alive as it was, and no service."""
    before = {name: daemon.pid for name, daemon in cluster.daemons.items()}
    yield
    for name, daemon in cluster.daemons.items():
        assert daemon.process is not None
        assert (daemon.process.poll(), daemon.pid) == (None, before[name]), f"{name} died: {daemon.tail()}"
    manager = cluster.daemons["m1"]
    if services := manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    assert {node["Status"]["State"] for node in manager.get("/nodes")} == {"ready"}


def refused(daemon: Daemon, cli: str, *command: str, stdin: bytes | None = None) -> str:
    """What the command said as it failed: one line."""
    run: Callable[..., str] = daemon.docker if cli == "docker" else daemon.shoal
    with pytest.raises(CommandFailed) as failed:
        run(*command, stdin=stdin)
    assert failed.value.status == 1, failed.value.said
    said = failed.value.said
    assert "\n" not in said, f"more than one line: {said}"
    assert "Traceback" not in said
    return said


def create(manager: Daemon, name: str, *flags: str, image: str = IMAGE, command: tuple[str, ...] = FOREVER) -> str:
    quick = ("--detach", "--no-resolve-image", "--stop-grace-period", "0s")
    return manager.docker("service", "create", *quick, "--name", name, *flags, image, *command)


def history(manager: Daemon, service: str) -> list[dict[str, Any]]:
    """Its tasks, ended ones too."""
    found: list[dict[str, Any]] = call(manager.socket, "GET", f'/tasks?filters={{"service":{{"{service}":true}}}}')[1]
    return found


# -- into the swarm ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cli", CLIS)
def test_whoever_is_in_a_swarm_can_neither_join_nor_found_one(cluster: Cluster, cli: str) -> None:
    token = cluster.daemons["m1"].docker("swarm", "join-token", "-q", "worker")
    for name in ("w1", "m2"):
        member = cluster.daemons[name]
        before = member.get("/info")["Swarm"]["NodeID"]
        assert "already part of a swarm" in refused(member, cli, "swarm", "join", "--token", token, "10.98.0.1:2377")
        assert "already part of a swarm" in refused(member, cli, "swarm", "init", "--advertise-addr", member.address)
        after = member.get("/info")["Swarm"]
        assert (after["NodeID"], after["LocalNodeState"]) == (before, "active")


@pytest.mark.parametrize("cli", CLIS)
def test_a_wrong_token_says_where_to_get_the_right_one(cluster: Cluster, outsider: Daemon, cli: str) -> None:
    manager = cluster.daemons["m1"]
    old = manager.docker("swarm", "join-token", "-q", "worker")
    present = manager.docker("swarm", "join-token", "--rotate", "-q", "worker")
    words = ("swarm", "join", "--advertise-addr", outsider.address, "--token")
    said = refused(outsider, cli, *words, old, f"{manager.address}:2377")
    assert "A valid join token is necessary to join this cluster: this one is wrong or was rotated" in said
    assert "join-token worker" in said
    assert "invalid join token" in refused(outsider, cli, *words, present[:-1], f"{manager.address}:2377")
    assert "cannot reach manager 10.98.0.99:2377" in refused(outsider, cli, *words, present, "10.98.0.99:2377")
    of_worker = refused(outsider, cli, *words, present, f"{cluster.daemons['w1'].address}:2377")
    assert "Connection refused; name a manager's address" in of_worker
    assert outsider.get("/info")["Swarm"]["LocalNodeState"] == "inactive"
    assert len(manager.get("/nodes")) == 5


def test_a_token_of_another_swarm_is_not_even_shown_to_this_one(cluster: Cluster, outsider: Daemon) -> None:
    outsider.docker("swarm", "init", "--advertise-addr", outsider.address)
    foreign = outsider.docker("swarm", "join-token", "-q", "worker")
    assert "Removing the last manager erases all current state" in refused(outsider, "docker", "swarm", "leave")
    outsider.docker("swarm", "leave", "--force")
    said = refused(outsider, "docker", "swarm", "join", "--token", foreign, "--advertise-addr", outsider.address, "10.98.0.1:2377")
    assert "remote CA does not match fingerprint: 10.98.0.1:2377 belongs to another cluster than the join token" in said
    assert "not part of a swarm" in refused(outsider, "shoal", "swarm", "leave")


def test_a_taken_port_is_named_before_anything_is_founded_or_joined(cluster: Cluster, outsider: Daemon) -> None:
    token = cluster.daemons["m1"].docker("swarm", "join-token", "-q", "worker")
    with outsider.host.inside():
        for port in (2377, 7946):
            with socket.create_server(("0.0.0.0", port)):
                for words in (("init",), ("join", "--token", token, "10.98.0.1:2377")):
                    said = refused(outsider, "shoal", "swarm", *words, "--advertise-addr", outsider.address)
                    assert f"cannot listen on 0.0.0.0:{port}: Address already in use" in said
                    assert "--listen-addr" in said
                    assert outsider.get("/info")["Swarm"]["LocalNodeState"] == "inactive"


# -- services that cannot be ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cli", CLIS)
def test_what_a_service_refers_to_must_be_there(manager: Daemon, cli: str) -> None:
    new = ("service", "create", "--detach", "--no-resolve-image", "--name", "web")
    assert "secret not found: zig" in refused(manager, cli, *new, "--secret", "zig", IMAGE)
    assert "config not found: zig" in refused(manager, cli, *new, "--config", "zig", IMAGE)
    assert "network zig not found" in refused(manager, cli, *new, "--network", "zig", IMAGE)
    said = refused(manager, cli, *new, "--constraint", "node.colour==red", IMAGE)
    assert "unknown key 'node.colour'; use node.id, node.hostname" in said
    assert "expected KEY==VALUE" in refused(manager, cli, *new, "--constraint", "node.role=manager", IMAGE)
    assert manager.docker("service", "ls", "-q") == ""


@pytest.mark.parametrize("cli", CLIS)
def test_names_and_ports_belong_to_one_service(manager: Daemon, cli: str) -> None:
    first = create(manager, "web", "--publish", "8201:80")
    new = ("service", "create", "--detach", "--no-resolve-image", "--name")
    said = refused(manager, cli, *new, "other", "--publish", "8201:80", IMAGE)
    assert f"port '8201' is already in use by service 'web' ({first}) as an ingress port" in said
    assert "service web already exists" in refused(manager, cli, *new, "web", IMAGE)
    for kind in ("secret", "config"):
        manager.docker(kind, "create", "taken", "-", stdin=b"a")
        assert f"{kind} taken already exists" in refused(manager, cli, kind, "create", "taken", "-", stdin=b"b")
        manager.docker(kind, "rm", "taken")
    assert "network with name ingress already exists" in refused(manager, cli, "network", "create", "--driver", "overlay", "ingress")
    assert [service["ID"] for service in manager.get("/services")] == [first]


def test_an_overlay_and_a_bridge_do_not_share_a_name(manager: Daemon) -> None:
    manager.docker("network", "create", "here")
    manager.docker("network", "create", "--driver", "overlay", "everywhere")
    assert "network with name here already exists" in refused(manager, "docker", "network", "create", "--driver", "overlay", "here")
    assert "network with name everywhere already exists" in refused(manager, "docker", "network", "create", "everywhere")
    manager.docker("network", "rm", "here", "everywhere")


def test_a_service_without_a_name_gets_one(manager: Daemon) -> None:
    made = manager.docker("service", "create", "--detach", "--no-resolve-image", IMAGE, *FOREVER)
    assert "_" in manager.get(f"/services/{made}")["Spec"]["Name"]


def test_an_image_that_does_not_exist_is_rejected_by_name_and_asked_for_ever_more_slowly(cluster: Cluster, manager: Daemon) -> None:
    create(manager, "ghost", "--restart-delay", "200ms", image="no-such-image:1")
    rows = wait_until(
        lambda: [one for one in history(manager, "ghost") if one["Status"]["State"] == "rejected"], what="the image is missed", seconds=30
    )
    nodes = {node["ID"]: node["Description"]["Hostname"] for node in manager.get("/nodes")}
    for task in rows:
        said = task["Status"]["Err"]
        assert said.startswith("No such image: no-such-image:1"), said
        assert said.endswith(f"(on node {nodes[task['NodeID']]})"), said
    shown = manager.docker("service", "ps", "--no-trunc", "ghost")
    assert "Rejected" in shown
    assert "No such image: no-such-image:1" in shown
    wait_until(
        lambda: len({one["NodeID"] for one in history(manager, "ghost") if one["Status"]["State"] == "rejected"}) >= 3,
        what="other nodes are tried",
    )
    wait_until(lambda: pause(manager, "ghost") > 1.5, what="the pause between two tries grows")
    manager.docker("service", "update", "--detach", "--no-resolve-image", "--image", IMAGE, "--args", "sleep 1000", "ghost")
    manager.wait_running("ghost", 1)


def pause(manager: Daemon, service: str) -> float:
    """Seconds between its two newest tasks."""
    made = sorted(datetime.fromisoformat(task["CreatedAt"][:26]) for task in history(manager, service))
    return (made[-1] - made[-2]).total_seconds()


def test_an_image_that_one_node_has_is_found_there(cluster: Cluster, manager: Daemon) -> None:
    cluster.daemons["w2"].docker("tag", IMAGE, "only-on-w2")
    create(manager, "rare", "--restart-delay", "100ms", image="only-on-w2")
    (task,) = manager.wait_running("rare", 1)
    nodes = {node["ID"]: node["Description"]["Hostname"] for node in manager.get("/nodes")}
    assert nodes[task["NodeID"]] == "w2"
    tried = [one for one in history(manager, "rare") if one["Status"]["State"] == "rejected"]
    assert len({one["NodeID"] for one in tried}) == len(tried), "no node was asked twice before the others had their turn"
    manager.docker("service", "rm", "rare")
    cluster.daemons["w2"].docker("rmi", "only-on-w2")


def test_a_service_that_no_node_can_hold_waits_and_says_why(manager: Daemon) -> None:
    create(manager, "huge", "--reserve-memory", "900GB")
    create(manager, "nowhere", "--constraint", "node.labels.disk==ssd", "--mode", "replicated", "--replicas", "2")
    create(manager, "sold-out", "--publish", "published=8203,target=80,mode=host", "--replicas", "6")

    def reasons(service: str) -> set[str]:
        return {str(task["Status"].get("Err", "")) for task in manager.tasks(service, "pending")} - {""}

    wait_until(lambda: reasons("huge") == {"no suitable node (insufficient resources on 5 nodes)"}, what="too little memory is named")
    wait_until(
        lambda: reasons("nowhere") == {"no suitable node (scheduling constraints not satisfied on 5 nodes)"}, what="the constraint is named"
    )
    manager.wait_running("sold-out", 5)
    said = wait_until(lambda: reasons("sold-out"), what="the port is named")
    assert said == {"no suitable node (host-mode port already in use on 5 nodes)"}
    assert "no suitable node" in manager.docker("service", "ps", "--no-trunc", "nowhere")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("services:\n  web:\n    image: a\n   ports: []\n", ":4: "),
        ("services:\n  web:\n    image: a\n    zig: 1\n", ":4: services.web"),
        ("services:\n  web:\n    image: a\n    ports: 80\n", ":4: services.web.ports"),
        ("services:\n  web:\n    image: ${IMAGE_OF_NOBODY?is not set}\n", ":3: "),
        ("services:\n  web:\n    image: a\n    networks: [zig]\n", "zig"),
        ("- a\n- b\n", ":1: "),
        ("", "must be a mapping"),
    ],
)
def test_a_malformed_stack_file_is_refused_with_its_place(manager: Daemon, tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(content)
    said = refused(manager, "shoal", "stack", "deploy", "-c", str(file), "shop")
    assert str(file) in said
    assert fault in said, said
    assert manager.docker("service", "ls", "-q") == ""


# -- clients that behave badly -------------------------------------------------------------------------------------------------------------
COME_AND_GO = 2
"""Connections that a daemon makes for itself, now and then."""


def open_sockets(daemon: Daemon) -> int:
    held = Path(f"/proc/{daemon.pid}/fd")
    return sum(os.readlink(fd).startswith("socket:") for fd in held.iterdir() if fd.is_symlink())


@pytest.mark.parametrize("target", ["/services/talk/logs?stdout=1&follow=1", "/events?filters=%7B%22type%22%3A%5B%22service%22%5D%7D"])
def test_a_client_that_hangs_up_in_a_stream_leaves_nothing_open(manager: Daemon, target: str) -> None:
    create(manager, "talk", "--replicas", "2", command=("sh", "-c", "while :; do echo tick; sleep 0.1; done"))
    manager.wait_running("talk", 2)
    idle = open_sockets(manager)
    clients = [connected(manager.socket) for _ in range(20)]
    for client in clients:
        client.sendall(f"GET {VERSION}{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for client in clients:
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert open_sockets(manager) >= idle + 20 - COME_AND_GO
    for client in clients[:10]:
        client.shutdown(socket.SHUT_WR)
    for client in clients:
        client.close()
    wait_until(lambda: open_sockets(manager) <= idle + COME_AND_GO, what="the daemon's ends are closed")


def test_a_killed_cli_leaves_the_stream_to_the_others(manager: Daemon) -> None:
    create(manager, "talk", command=("sh", "-c", "while :; do echo tick; sleep 0.1; done"))
    manager.wait_running("talk", 1)
    follow = ("docker", "-H", manager.url, "service", "logs", "--follow", "--raw", "talk")
    with subprocess.Popen(follow, stdout=subprocess.PIPE) as one, subprocess.Popen(follow, stdout=subprocess.PIPE) as other:
        assert one.stdout is not None
        assert other.stdout is not None
        try:
            assert one.stdout.readline() == other.stdout.readline() == b"tick\n"
            one.kill()
            one.wait()
            assert [other.stdout.readline() for _ in range(10)] == [b"tick\n"] * 10
        finally:
            other.kill()


def test_a_client_that_half_closes_has_its_answer(manager: Daemon) -> None:
    sent = f"GET {VERSION}/secrets HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert exchange(manager.socket, sent, half_close=True).endswith(b"[]\n")
    begun = f"POST {VERSION}/services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{{".encode()
    assert exchange(manager.socket, begun, half_close=True).startswith(b"HTTP/1.1 400")
    assert manager.docker("run", "--rm", "-i", IMAGE, "cat", stdin=b"half-closed") == "half-closed"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /v1.41/services HTTP/1.1\r\nHost: x\r\nLong: " + b"a" * 1_100_000 + b"\r\n\r\n",
        b"POST /v1.41/services/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1.41/services/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1.41/services/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzig\r\n",
        b"GET /v1.10/services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v9.99/services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["TLS", "long head", "negative length", "two lengths", "bad chunk", "old version", "new version", "HTTP/2"],
)
def test_bytes_that_are_no_request_are_answered_with_4xx_and_a_message(manager: Daemon, sent: bytes) -> None:
    answer = exchange(manager.socket, sent)
    assert answer[9:10] in (b"4", b"5"), answer
    assert answer[9:12] not in (b"500", b"404"), answer
    assert b'{"message":"' in answer


def test_a_client_that_says_nothing_costs_nothing(manager: Daemon) -> None:
    idle = [connected(manager.socket) for _ in range(200)]
    begun = time.monotonic()
    manager.get("/services")
    assert time.monotonic() - begun < 5
    for client in idle:
        client.close()
