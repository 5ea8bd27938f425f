"""A two-way stream to a manager, as session and logs want it: `send` one by one, `received` as they come.

Whoever binds a transport gives an exchange (an iterator of requests in, an iterator of answers out, as gRPC has it) and gets the
line of this module around it; tests give lines of their own.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, Protocol, TypeVar

Sent = TypeVar("Sent")
Received = TypeVar("Received")
Sent_contra = TypeVar("Sent_contra", contravariant=True)
Received_co = TypeVar("Received_co", covariant=True)

QUEUE = 64
"""Messages that wait to be sent at most; then the sender waits."""


class Line(Protocol[Sent_contra, Received_co]):
    """One connection. `received` ends when the peer ends it and raises ShoalError when it breaks."""

    async def send(self, message: Sent_contra) -> None: ...

    async def finish(self) -> None:
        """Nothing more will be sent. The peer gets what was sent before and then ends its side."""
        ...

    def received(self) -> AsyncIterator[Received_co]: ...


Exchange = Callable[[str, AsyncIterator[Sent]], AsyncIterator[Received]]
"""(address, requests) -> answers. Leaving the iterator of answers closes the call."""


def line_over(exchange: Exchange[Sent, Received]) -> Callable[[str], AbstractAsyncContextManager[Line[Sent, Received]]]:
    """How to open a line to an address, over this exchange."""

    @asynccontextmanager
    async def connect(address: str) -> AsyncIterator[Line[Sent, Received]]:
        line: _QueuedLine[Sent, Received] = _QueuedLine(exchange, address)
        try:
            yield line
        finally:
            await line.close()

    return connect


class _QueuedLine(Generic[Sent, Received]):
    def __init__(self, exchange: Exchange[Sent, Received], address: str) -> None:
        self._waiting: asyncio.Queue[Sent | None] = asyncio.Queue(QUEUE)
        self._answers = exchange(address, self._requests())

    async def send(self, message: Sent) -> None:
        await self._waiting.put(message)

    def received(self) -> AsyncIterator[Received]:
        return self._answers

    async def finish(self) -> None:
        await self._waiting.put(None)

    async def close(self) -> None:
        """At once: what was not taken yet is lost."""
        if isinstance(self._answers, AsyncGenerator):
            await self._answers.aclose()

    async def _requests(self) -> AsyncIterator[Sent]:
        while (message := await self._waiting.get()) is not None:
            yield message
