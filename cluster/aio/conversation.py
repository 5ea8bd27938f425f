"""Bytes both ways between two places, carried over a stream of pieces: each direction ends by itself, neither outruns its reader.

The same code runs on both sides: `relay` says on what is said here, under the other side's credit, and says here what it hears.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Protocol

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import Piece
from cluster.api.errors import TooLarge, Unavailable

WINDOW = 1 << 20
"""Bytes that may be under way before the first credit; both sides know this number."""
CHUNK = 64 * 1024
LAST_WORDS = 2.0
"""Seconds in which what was said by one who left is still taken."""


class Conversation(Protocol):
    """Bytes both ways, each direction ending by itself."""

    async def read(self) -> bytes:
        """What has arrived, at least a byte; empty once the other side has ended its direction."""
        ...

    async def send(self, data: bytes) -> None:
        """Send, waiting while the other side is slow; raises ConnectionError when it is not there any more."""
        ...

    def write_eof(self) -> None: ...

    def on_gone(self, call: Callable[[], None] | None) -> None:
        """Have `call` made once when the other side has left for good (at once if it has); None takes that back."""
        ...

    def close(self) -> None:
        """End both directions once everything sent is on its way."""
        ...


class BrokenOff(Unavailable):
    """The other side's stream ended before it had said everything."""


class Credits:
    """How many bytes may still be sent. No clock, no I/O but waiting."""

    def __init__(self, window: int = WINDOW) -> None:
        self._left = Latest(window)

    def grant(self, count: int) -> None:
        self._left.set(self._left.value + count)

    async def take(self, count: int) -> None:
        """Wait until something is left, then take; a chunk may overdraw, so that none is too large for any window."""
        while self._left.value <= 0:
            await self._left.wait_change(self._left.revision)
        self._left.set(self._left.value - count)


def pieces(content: bytes) -> Iterator[bytes]:
    """Cut to at most `CHUNK`; nothing is one piece too."""
    for at in range(0, max(1, len(content)), CHUNK):
        yield content[at : at + CHUNK]


async def relay(
    here: Conversation,
    *,
    send: Callable[[Piece], Awaitable[None]],
    received: AsyncIterator[Piece],
    finish: Callable[[], Awaitable[None]],
    clock: Clock,
    patience: float = float("inf"),
) -> None:
    """Until both directions have ended, the one here has left, or the other side has.

    `finish` is called once nothing more will be sent, and returns when the stream may be let go. `patience`: seconds that one here has to
    take what is left when the other side is gone. Raises BrokenOff for another side that left before it had said everything.
    """
    await _Relay(here, send, clock).run(received, finish, patience)


class _Relay:
    def __init__(self, here: Conversation, send: Callable[[Piece], Awaitable[None]], clock: Clock) -> None:
        self._here = here
        self._clock = clock
        self._send = send
        self._credits = Credits()
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()  # bounded by the credit that we gave
        self._held = 0
        self._has_ended = False

    async def run(self, received: AsyncIterator[Piece], finish: Callable[[], Awaitable[None]], patience: float) -> None:
        left = asyncio.Event()
        saying, telling = asyncio.ensure_future(self._say()), asyncio.ensure_future(self._tell())

        async def talk() -> None:
            await asyncio.wait([saying, telling])
            await finish()

        async def leave() -> None:
            """Who left has ended its direction too: what it said before goes on, for a moment."""
            await left.wait()
            await first_of(lambda: asyncio.wait([saying]), lambda: self._clock.sleep(LAST_WORDS))
            await finish()

        async def listen() -> None:
            await self._hear(received)
            await first_of(lambda: asyncio.wait([telling]), lambda: self._wait(patience))

        self._here.on_gone(left.set)
        try:
            await first_of(talk, leave, listen)
        finally:
            self._here.on_gone(None)
            saying.cancel()
            telling.cancel()
            await asyncio.wait([saying, telling])
        for direction in (saying, telling):
            if not direction.cancelled():
                direction.result()

    async def _wait(self, seconds: float) -> None:
        await (asyncio.Event().wait() if seconds == float("inf") else self._clock.sleep(seconds))

    async def _say(self) -> None:
        while content := await self._here.read():
            for piece in pieces(content):
                await self._credits.take(len(piece))
                await self._send(Piece(content=piece))
        await self._send(Piece(end=True))

    async def _hear(self, received: AsyncIterator[Piece]) -> None:
        async for piece in received:
            if piece.credit > 0:
                self._credits.grant(piece.credit)
            if piece.error:
                raise BrokenOff(piece.error)
            if self._has_ended:
                continue
            if piece.content:
                self._held += len(piece.content)
                if self._held > WINDOW + CHUNK:
                    raise TooLarge("the other side sends more than it was given credit for")
                self._heard.put_nowait(piece.content)
            if piece.end:
                self._has_ended = True
                self._heard.put_nowait(b"")
        if not self._has_ended:
            raise BrokenOff("it broke off")

    async def _tell(self) -> None:
        """What was heard, at the pace of the one here; one who does not listen any more may still speak."""
        with suppress(ConnectionError):
            while content := await self._heard.get():
                await self._here.send(content)
                self._held -= len(content)
                await self._send(Piece(credit=len(content)))
            self._here.write_eof()
