"""One outgoing stream to each peer, kept up for as long as there is something to say. What a connection is, `dial` knows.

Consensus survives loss, so nothing here is repeated: what does not fit, or was waiting when a connection broke, is dropped and
reported, and the core starts asking again what the peer has. One that ends while nobody speaks loses nothing: it is made again when needed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random

from cluster.aio.backoff import Backoff
from manager.raft.core.membership import MemberId

log = logging.getLogger(__name__)

SendFrame = Callable[[bytes], Awaitable[None]]
Dial = Callable[[str, Callable[[], None]], AbstractAsyncContextManager[SendFrame]]
"""Connects to an address. Inside the context the value sends one frame and returns when more may be sent; both raise when it fails. What is
given beside the address is called if the connection ends meanwhile: who has nothing to say for long would not notice.
"""

MAX_QUEUED_BYTES = 16 * 1024 * 1024
IDLE_SECONDS = 60.0


class Link:
    """The frames that wait for one peer at one address."""

    def __init__(self, to: MemberId, address: str) -> None:
        self.to = to
        self.address = address
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._is_broken = False

    def put(self, frame: bytes, *, limit: int) -> bool:
        """False if too much waits already."""
        if self._frames and self._bytes + len(frame) > limit:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._news.set()
        return True

    def take(self) -> bytes:
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        return frame

    async def wait_frame(self) -> None:
        while not self._frames:
            self._news.clear()
            await self._news.wait()

    async def wait_frame_for(self, seconds: float) -> bool:
        """False if nothing came in that time, or the connection ended before."""
        if not self._frames and not self._is_broken:  # the common case, a frame is there, costs no timer
            try:
                async with asyncio.timeout(seconds):
                    await self._wait_news()
            except TimeoutError:
                return False
        return not self._is_broken

    async def _wait_news(self) -> None:
        while not self._frames and not self._is_broken:
            self._news.clear()
            await self._news.wait()

    def begin(self) -> None:
        """A connection is being made."""
        self._is_broken = False

    def end(self) -> None:
        """The connection is over; what waits goes over the next one."""
        self._is_broken = True
        self._news.set()

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0


class PeerStreams:
    """The `Transport` of a real member; `run` keeps the streams."""

    def __init__(self, dial: Dial, *, rng: Random, max_queued_bytes: int = MAX_QUEUED_BYTES, idle_seconds: float = IDLE_SECONDS) -> None:
        self._dial = dial
        self._rng = rng
        self._limit = max_queued_bytes
        self._idle_seconds = idle_seconds
        self._links: dict[MemberId, Link] = {}
        self._tasks: dict[MemberId, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._on_dropped: Callable[[MemberId], None] = lambda _: None

    def report_drops_to(self, on_dropped: Callable[[MemberId], None]) -> None:
        """Whom to tell when a peer's frames were dropped: `Raft.unreachable`."""
        self._on_dropped = on_dropped

    async def run(self) -> None:
        """Keep the streams until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for link in self._links.values():
                self._start(link)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def send(self, to: MemberId, address: str, frames: Sequence[bytes]) -> None:
        link = self._links.get(to)
        if link is None or link.address != address:
            link = self._links[to] = Link(to, address)
            self._start(link)
        for frame in frames:
            if not link.put(frame, limit=self._limit):
                log.warning("too much waits for %s at %s; dropped a frame", to, address)
                self._on_dropped(to)

    def _start(self, link: Link) -> None:
        before = self._tasks.pop(link.to, None)
        if before is not None:
            before.cancel()
        if self._group is not None:
            self._tasks[link.to] = self._group.create_task(self._keep(link), name=f"raft-to-{link.to}")

    async def _keep(self, link: Link) -> None:
        """Connect when there is something to say; again, after a pause, when that breaks."""
        backoff = Backoff(first=0.05, cap=1.0, rng=self._rng)
        is_down = False
        while True:
            await link.wait_frame()
            try:
                link.begin()
                async with self._dial(link.address, link.end) as send_frame:
                    while await link.wait_frame_for(self._idle_seconds):
                        await send_frame(link.take())
                        backoff.reset()
                        is_down = False
            except Exception as broken:  # noqa: BLE001 - whatever a connection dies of, it is made again
                if not is_down:
                    log.warning("no connection to %s at %s: %r", link.to, link.address, broken)
                is_down = True
                link.clear()
                self._on_dropped(link.to)
                await asyncio.sleep(backoff.next())
