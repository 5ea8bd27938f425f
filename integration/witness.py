"""Who looks on while a cluster is hurt: a client that writes without pause and keeps what was acknowledged; what runs on which engine."""

import http.client
import json
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from integration.cluster_rig import Daemon

TIMEOUT = 15.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answered(NamedTuple):
    status: int
    body: Any

    @property
    def message(self) -> str:
        return str(self.body.get("message", "")) if isinstance(self.body, dict) else ""


def ask(daemon: Daemon, verb: str, path: str, body: Any = None, *, timeout: float = TIMEOUT, via: Path | None = None) -> Answered:
    """One request to a daemon's API (`via` its socket as somebody else sees it). Raises OSError or HTTPException without an answer."""
    connection = _UnixConnection(via or daemon.socket, timeout)
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(verb, path, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        text = answer.read()
        with suppress(ValueError):
            return Answered(answer.status, json.loads(text or b"null"))
        return Answered(answer.status, text.decode(errors="replace"))
    finally:
        connection.close()


@contextmanager
def reading(daemon: Daemon, path: str) -> Iterator[Callable[[int], bytes]]:
    """An answer that is read piece by piece. Raises OSError if it is no 200."""
    connection = _UnixConnection(daemon.socket, TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{daemon.name}: {path}: {answer.status}")
        yield answer.read
    finally:
        connection.close()


def filtered(path: str, **filters: Sequence[str]) -> str:
    return f"{path}?filters={urllib.parse.quote(json.dumps({name: list(values) for name, values in filters.items()}))}"


class Writer:
    """Writes one config after the other through whichever daemon answers; a write that failed is tried again until it is there."""

    def __init__(self, daemons: Callable[[], Sequence[Daemon]], *, prefix: str, pause: float = 0.02) -> None:
        self._daemons = daemons
        self._prefix = prefix
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self.acknowledged: list[str] = []
        self.refusals: list[str] = []
        self.longest = 0.0
        """Seconds between two acknowledged writes."""

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(2 * TIMEOUT)

    def _work(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stop.is_set():
            name = f"{self._prefix}-{number}"
            if self._write(name):
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
                self.acknowledged.append(name)
                number += 1
            self._stop.wait(self._pause)

    def _write(self, name: str) -> bool:
        for daemon in self._daemons():
            try:
                answer = ask(daemon, "POST", "/configs/create", {"Name": name, "Data": "eA=="}, timeout=12)
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 201 or (answer.status == 409 and "already exists" in answer.message):
                return True
            self.refusals.append(f"{daemon.name}: {answer.status} {answer.message}")
        return False

    def missing(self, daemon: Daemon) -> set[str]:
        """What was acknowledged and is not there."""
        shown = {row["Spec"]["Name"] for row in ask(daemon, "GET", "/configs").body}
        return set(self.acknowledged) - shown


class Running(NamedTuple):
    """A task's container as its engine shows it."""

    task: str
    container: str
    started: str
    daemon: str


def containers(daemons: Iterable[Daemon]) -> set[Running]:
    """The task containers that run on these engines."""
    found = set()
    for daemon in daemons:
        ids = daemon.engine("ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.task.id").split()
        if not ids:
            continue
        form = '{{index .Config.Labels "com.docker.swarm.task.id"}} {{.Id}} {{.State.StartedAt}}'
        for line in daemon.engine("inspect", "--format", form, *ids).splitlines():
            found.add(Running(*line.split(), daemon=daemon.name))
    return found


def left_behind(daemon: Daemon) -> list[str]:
    """What of a swarm is on this host: tasks' containers, networks, interfaces, rules, the name server, secrets, state."""
    found = [f"container {name}" for name in daemon.engine("ps", "-a", "--filter", "label=shoal.cluster", "--format", "{{.Names}}").split()]
    networks = daemon.engine("network", "ls", "--format", "{{.Name}}").split()
    found += [f"network {name}" for name in networks if name.startswith("shoal")]
    interfaces = [row["ifname"] for row in json.loads(daemon.host.run("ip", "-j", "link"))]
    found += [f"interface {name}" for name in interfaces if name.startswith(("shoal", "sb-", "sv-", "sc-"))]
    found += [line for line in daemon.host.run("nft", "list", "tables").splitlines() if "shoal" in line]
    secrets = daemon.folder / "run" / "secrets"
    found += [f"secrets {path}" for path in (secrets, *secrets.rglob("*")) if path.exists()]
    found += [f"state {path}" for path in (daemon.folder / "data" / "swarm", daemon.folder / "data" / "worker") if path.exists()]
    found += [f"process {words}" for words in _processes_of(daemon, b"node_agent.network.dns")]
    return found


def _processes_of(daemon: Daemon, word: bytes) -> list[str]:
    mark = os.fsencode(f"{daemon.folder}/")
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes()
            if mark in words and word in words:
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found
