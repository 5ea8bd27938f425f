"""Requests from outside, one new connection each, without pause: who answered, from where, how long it took, what failed."""

import http.client
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from integration.netlab import Host

TIMEOUT = 2.0


class Answer(NamedTuple):
    at: float
    seconds: float
    via: str
    task: str
    node: str
    client: str
    secret: str


class Load:
    """Asks each address in turn from a thread of its own, inside the namespace of `host`."""

    def __init__(self, host: Host, addresses: Sequence[str], *, port: int, path: str = "/cgi-bin/who", pause: float = 0.002) -> None:
        self._host = host
        self._addresses = list(addresses)
        self._port = port
        self._path = path
        self._pause = pause
        self._answers: deque[Answer] = deque(maxlen=200_000)
        self._failures: list[tuple[float, str, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)
        self.notes: list[tuple[str, float, float]] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT + 1)

    def avoid(self, address: str) -> None:
        """Nobody asks a machine that is off."""
        self._addresses = [known for known in self._addresses if known != address]

    def note(self, what: str, begun: float, ended: float) -> None:
        self.notes.append((what, begun, ended))

    def answers(self) -> Sequence[Answer]:
        return list(self._answers)

    def served(self) -> int:
        return len(self._answers)

    def failed(self) -> int:
        return len(self._failures)

    def failures(self) -> Sequence[tuple[float, str, str]]:
        return list(self._failures)

    def entered(self) -> set[str]:
        """The machines through which answers came."""
        return {answer.via for answer in self._answers}

    def _work(self) -> None:
        with self._host.inside():
            count = 0
            while not self._stop.is_set():
                addresses = self._addresses
                count += 1
                self._ask(addresses[count % len(addresses)])
                time.sleep(self._pause)

    def _ask(self, address: str) -> None:
        begun = time.monotonic()
        connection = http.client.HTTPConnection(address, self._port, timeout=TIMEOUT)
        try:
            connection.request("GET", self._path)
            said = connection.getresponse().read().decode()
            self._answers.append(_answer(said, begun, address))
        except (OSError, http.client.HTTPException, KeyError, ValueError) as failed:
            self._failures.append((begun, address, repr(failed)))
        finally:
            connection.close()


def _answer(said: str, begun: float, via: str) -> Answer:
    head, _, secret = said.strip().partition(" secret=")
    facts = dict(part.split("=", 1) for part in head.split())
    client = facts["client"].replace("[", "").replace("]", "").removeprefix("::ffff:")
    return Answer(begun, time.monotonic() - begun, via, facts["task"], facts["node"], client.split(":")[0], secret)
