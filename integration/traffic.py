"""Steady HTTP traffic from a host outside: clients that keep their connections and clients that open one for each request.

A request fails when it is not answered whole: refused, reset, cut short, or silent for five seconds. A kept connection that the server
closes after saying so is no failure, and one that ends without a word while nothing is asked on it is opened anew, as browsers do;
one that ends under a request is.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from integration.netlab import Host

PATIENCE = 5.0
SLOW_EVERY = 25
"""One request in so many takes long, so that there is always one under way."""


class Sample(NamedTuple):
    """One request: when it began (monotonic), how long it took, on what kind of connection, by which node, and what went wrong."""

    at: float
    seconds: float
    kept: bool
    via: str
    failed: str
    answered_by: str


class Traffic:
    """Asks every address all the time, from a thread of its own inside the namespace of `host`."""

    def __init__(self, host: Host, addresses: Sequence[str], *, port: int, kept: int = 2, fresh: int = 2, slow_ms: int = 300) -> None:
        self._host = host
        self._port = port
        self._slow_ms = slow_ms
        self._workers = [(address, keeps) for address in addresses for keeps in (*(True,) * kept, *(False,) * fresh)]
        self._avoided: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(PATIENCE + 5)

    def avoid(self, address: str) -> None:
        """A machine that is off is asked by nobody."""
        self._avoided |= {address}

    def between(self, begun: float, ended: float) -> list[Sample]:
        return [sample for sample in list(self.samples) if begun <= sample.at < ended]

    def _run(self) -> None:
        with self._host.inside():
            asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for address, keeps in self._workers:
                group.create_task(self._keep_asking(address, keeps=keeps))

    async def _keep_asking(self, address: str, *, keeps: bool) -> None:
        client, count = _Client(address, self._port), 0
        while not self._stop.is_set() and address not in self._avoided:
            count += 1
            begun = time.monotonic()
            failed = who = ""
            try:
                async with asyncio.timeout(PATIENCE):
                    who = await client.ask(self._slow_ms if count % SLOW_EVERY == 0 else 2, keep=keeps)
            except (OSError, ValueError, EOFError) as problem:
                failed = type(problem).__name__ + (f": {problem}" if str(problem) else "")
                client.close()
            self.samples.append(Sample(begun, time.monotonic() - begun, keeps, address, failed, who))
            await asyncio.sleep(0.005)
        client.close()


class _Client:
    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, ms: int, *, keep: bool) -> str:
        """The name of the container that answered."""
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(self._address, self._port)
        self._writer.write(b"GET /?ms=%d HTTP/1.1\r\nHost: test\r\n\r\n" % ms)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head[:40].decode(errors="replace"))
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n", 1)[0])
        body = await self._reader.readexactly(length)
        if not keep or b"Connection: close" in head:
            self.close()
        return body.decode()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
