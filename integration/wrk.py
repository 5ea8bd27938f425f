"""wrk against every node at once, on kept connections and on a connection a request, and what it says went wrong."""

import re
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from integration.netlab import Host, end

PATIENCE = 5
"""Seconds after which a request counts as failed."""
_REQUESTS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_ERRORS = re.compile(r"^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", re.MULTILINE)
_STATUS = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)", re.MULTILINE)


class Count(NamedTuple):
    requests: int
    failed: int


def counted(said: str) -> Count:
    """What one run of wrk printed. Raises ValueError when it did not run to its end."""
    requests = _REQUESTS.search(said)
    if requests is None:
        raise ValueError(f"wrk said: {said.strip()}")
    errors, status = _ERRORS.search(said), _STATUS.search(said)
    return Count(int(requests[1]), sum(map(int, errors.groups() if errors else ())) + int(status[1] if status else 0))


class Wrk:
    """Runs for so many seconds, or until the block ends in an error."""

    def __init__(self, host: Host, addresses: Sequence[str], *, port: int, seconds: int, connections: int = 4) -> None:
        command = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE}s")
        self._commands = [
            (kept, host.command(*command, *(() if kept else ("-H", "Connection: close")), f"http://{address}:{port}/"))
            for address in addresses
            for kept in (True, False)
        ]
        self._running: list[tuple[bool, subprocess.Popen[str]]] = []

    def __enter__(self) -> "Wrk":
        for kept, command in self._commands:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self._running.append((kept, process))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _, process in self._running:
            end(process)

    @property
    def runs(self) -> bool:
        return all(process.poll() is None for _, process in self._running)

    def finish(self) -> dict[bool, Count]:
        """Once all have run to their end: on kept connections (True) and on new ones."""
        found = {True: Count(0, 0), False: Count(0, 0)}
        for kept, process in self._running:
            count = counted(process.communicate()[0])
            found[kept] = Count(found[kept].requests + count.requests, found[kept].failed + count.failed)
        return found
