"""Logs to a client of this manager, from the nodes that have them. The leader passes the orders on; the bytes never go through it.

`subscribe` reads, `publish` takes what nodes send for a subscription here, `order` (on the leader) goes down the sessions.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from cluster.aio.clock import Clock
from cluster.aio.supervise import first_of
from cluster.api.assignment import Credit, LogChunk, LogOrder
from cluster.api.contracts import Caller, Taken
from cluster.api.errors import Unavailable
from cluster.api.ids import DrawId, Id
from manager.logbroker.selection import LogRequest
from manager.logbroker.subscription import Feed, Subscription
from manager.store.store import Store

Order = Callable[[Caller, LogOrder], Awaitable[Taken]]
"""Have the leader pass an order down the sessions."""


class LogBroker:
    """Implements contracts.Streams on every manager. `me`: this manager, as who it asks the leader; `addr`: where nodes reach it."""

    def __init__(self, *, store: Store, order: Order, clock: Clock, draw_id: DrawId, me: Caller, addr: Callable[[], str]) -> None:
        self._store = store
        self._order = order
        self._clock = clock
        self._draw_id = draw_id
        self._me = me
        self._addr = addr
        self._subscriptions: dict[Id, Subscription] = {}

    # -- for the client ----------------------------------------------------------------------------------------------------------------
    async def subscribe(self, request: LogRequest) -> AsyncGenerator[LogChunk, None]:
        """Lines as they come, without ends; a chunk with `error` is a line of ours about what is missing. Close it to stop the nodes."""
        stream = self._draw_id()
        subscription = self._subscriptions[stream] = Subscription(stream, request, addr=self._addr())
        try:
            while True:
                stirred, stored = subscription.stirred.revision, self._store.latest.revision
                now = self._store.snapshot
                order = subscription.look(now, at=self._clock.monotonic())
                if order is not None:
                    await self._ask(order)
                while (taken := subscription.take()) is not None:
                    chunk, feed = taken
                    if chunk.content or chunk.error:
                        yield chunk
                    if feed is not None:
                        feed.read(len(chunk.content))
                if subscription.is_complete(now):
                    return
                await self._wait(subscription, stirred, stored)
        finally:
            del self._subscriptions[stream]
            subscription.stop()

    async def _ask(self, order: LogOrder) -> None:
        """An order that cannot be passed on now is given again, until its nodes' time is over."""
        try:
            await self._order(self._me, order)
        except Unavailable:
            return

    async def _wait(self, subscription: Subscription, stirred: int, stored: int) -> None:
        pause = subscription.next_look()
        waits: list[Callable[[], Awaitable[object]]] = [
            lambda: subscription.stirred.wait_change(stirred),
            lambda: self._store.latest.wait_change(stored),
        ]
        if pause is not None:
            waits.append(lambda: self._clock.sleep(pause))
        await first_of(*waits)

    # -- contracts.Streams -------------------------------------------------------------------------------------------------------------
    async def order(self, caller: Caller, request: LogOrder) -> Taken:
        return await self._order(caller, request)

    async def publish(self, caller: Caller, requests: AsyncIterator[LogChunk]) -> AsyncIterator[Credit]:
        """A node's stream: its first chunk says for which subscription. Credit flows back as the client reads."""
        reading = _Reading(requests)
        try:
            first = await reading.next()
            subscription = None if first is None else self._subscriptions.get(first.stream)
            if first is None or subscription is None:
                yield Credit(stop=True)
                return
            feed = subscription.opened(caller.node_id)
            try:
                subscription.came(feed, first)
                async with aclosing(_pumped(reading, subscription, feed)) as credits_back:
                    async for credit in credits_back:
                        yield credit
            finally:
                subscription.closed(feed)
        finally:
            await reading.close()


async def _pumped(reading: "_Reading", subscription: Subscription, feed: Feed) -> AsyncGenerator[Credit, None]:
    """Chunks in, credit out, until the node has sent everything or nobody reads any more."""
    while not feed.is_stopped:
        stirred = feed.stirred.revision
        while reading.is_ready:
            chunk = await reading.next()
            if chunk is None:
                return
            subscription.came(feed, chunk)
        if owed := feed.credit():
            yield Credit(bytes=owed)
        await first_of(reading.wait, lambda: feed.stirred.wait_change(stirred))  # noqa: B023
    yield Credit(stop=True)


class _Reading:
    """A stream of requests that can be waited for beside other things: a wait that is given up loses nothing."""

    def __init__(self, requests: AsyncIterator[LogChunk]) -> None:
        self._requests = requests
        self._next: asyncio.Future[LogChunk | None] | None = None

    def _begun(self) -> asyncio.Future[LogChunk | None]:
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        return self._next

    async def _read(self) -> LogChunk | None:
        return await anext(self._requests, None)

    @property
    def is_ready(self) -> bool:
        return self._next is not None and self._next.done()

    async def wait(self) -> None:
        await asyncio.wait([self._begun()])

    async def next(self) -> LogChunk | None:
        """The next chunk; None after the last."""
        await self.wait()
        chunk = self._begun().result()
        self._next = None
        return chunk

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
            if not self._next.cancelled():
                self._next.exception()
