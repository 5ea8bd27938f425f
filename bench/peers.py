"""The two sides of a comparison, each on a host of its own: our daemon, and a dockerd in swarm mode. One script drives both."""

import http.client
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from integration.cluster_rig import Cluster, busybox_archive, run

IMAGE = "bench"
SETTLED = 90.0


class Side(NamedTuple):
    """One API to drive."""

    name: str
    socket: Path
    image_id: str
    pids: tuple[int, ...]
    """The daemon's processes, whose memory counts."""


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket, kept open."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """The status and the body of the answer."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.request(method, f"/v1.41{path}", None if body is None else json.dumps(body), headers)
        answer = self.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    def call(self, method: str, path: str, body: object = None) -> Any:
        status, said = self.ask(method, path, body)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {said}")
        return json.loads(said) if said.strip() else None


@contextmanager
def both_sides() -> Iterator[tuple[Side, Side]]:
    """Ours and dockerd's swarm mode, each with the image already there."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-bench-"))
    with Cluster("bench", folder, network="10.95.0") as cluster:
        archive = busybox_archive(folder)
        ours = cluster.add("m1").start()
        ours.import_image(IMAGE, archive, "ENV PATH=/bin")
        ours.docker("swarm", "init", "--advertise-addr", ours.address)
        host = cluster.lab.host("peer", "10.95.0.9/24")
        peer = host.engine(folder / "peer")
        peer.docker("import", "-c", "ENV PATH=/bin", str(archive), IMAGE)
        peer.docker("swarm", "init", "--advertise-addr", host.address)
        yield (
            Side("shoal", ours.socket, ours.docker("images", "-q", "--no-trunc", IMAGE), (ours.pid,)),
            Side("docker", peer.socket, peer.docker("images", "-q", "--no-trunc", IMAGE), ()),
        )
    run(("rm", "-rf", str(folder)))


def spec(side: Side, name: str, replicas: int, **template: object) -> dict[str, object]:
    """A service of `replicas` sleeping containers, its image by id: nothing is pulled."""
    container = {"Image": side.image_id, "Args": ["sleep", "100000"], "StopGracePeriod": 1_000_000}
    return {
        "Name": name,
        "TaskTemplate": {"ContainerSpec": container, "RestartPolicy": {"Condition": "any", "Delay": 0}, **template},
        "Mode": {"Replicated": {"Replicas": replicas}},
    }


def running(connection: Connection, name: str) -> list[dict[str, Any]]:
    filters = quote(json.dumps({"service": {name: True}, "desired-state": {"running": True}}))
    return [task for task in connection.call("GET", f"/tasks?filters={filters}") if task["Status"]["State"] == "running"]


def wait_running(connection: Connection, name: str, count: int) -> None:
    deadline = time.monotonic() + SETTLED
    while len(running(connection, name)) != count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} tasks of {name} do not run")
        time.sleep(0.02)


def remove(connection: Connection, name: str) -> None:
    """And wait until no container of it is left."""
    connection.call("DELETE", f"/services/{name}")
    filters = quote(json.dumps({"label": {f"com.docker.swarm.service.name={name}": True}}))
    deadline = time.monotonic() + SETTLED
    while connection.call("GET", f"/containers/json?all=1&filters={filters}"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"containers of {name} do not go")
        time.sleep(0.05)
