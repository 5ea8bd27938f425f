"""A client that asks one daemon's API without pause from a thread of its own, and keeps how long each answer took."""

import http.client
import itertools
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench.peers import Connection
from integration.cluster_rig import Daemon

PAUSE = 0.005
_numbers = itertools.count()


class Answer(NamedTuple):
    begun: float
    ended: float
    status: int
    said: str


class Client:
    """Use as a block; it ends with it."""

    def __init__(self, daemon: Daemon, *, writes: bool) -> None:
        self._socket: Path = daemon.socket
        self._writes = writes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"client of {daemon.name}", daemon=True)
        self.answers: list[Answer] = []

    @classmethod
    def writing(cls, daemon: Daemon) -> "Client":
        """Creates services of no replicas, each of another name."""
        return cls(daemon, writes=True)

    @classmethod
    def reading(cls, daemon: Daemon) -> "Client":
        """Lists the nodes."""
        return cls(daemon, writes=False)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        connection = Connection(self._socket)
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                status, said = connection.ask(*self._request())
            except (OSError, http.client.HTTPException) as failed:
                connection.close()
                status, said = 599, repr(failed)
            self.answers.append(Answer(begun, time.monotonic(), status, said))
            self._over.wait(PAUSE)
        connection.close()

    def _request(self) -> tuple[str, str, object]:
        if not self._writes:
            return "GET", "/nodes", None
        template = {"ContainerSpec": {"Image": "none", "Args": ["sleep", "1"]}}
        return "POST", "/services/create", {
            "Name": f"written-{next(_numbers)}", "TaskTemplate": template, "Mode": {"Replicated": {"Replicas": 0}},
        }  # fmt: skip

    def done_after(self, moment: float) -> float:
        """When the first request that was begun after this moment was granted; 0 if none was."""
        return next((one.ended for one in list(self.answers) if one.begun >= moment and one.status < 400), 0.0)

    def longest(self) -> float:
        """Seconds that the slowest granted request took, from when the last one before it was granted."""
        granted = [one.ended for one in self.answers if one.status < 400]
        return max((after - before for before, after in itertools.pairwise(granted)), default=0.0)
