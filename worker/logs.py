"""Logs of this node's tasks, to the manager whose client reads them. The leader only passed the order down; the bytes take no detour.

One connection a stream, one reader a task on it. A reader sends no more than the credit that the other side gave, so a client that
stops reading stops the engine's log and nothing piles up in between.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from cluster.aio.clock import Clock
from cluster.aio.conversation import Credits, pieces
from cluster.aio.latest import Latest
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import Credit, LogChunk, LogOrder
from cluster.api.errors import ShoalError
from cluster.api.ids import Id
from worker.lines import Line
from worker.ports import Engine, EngineError, LogLine

CONTAINER_POLL = 0.25
CLOSE_WITHIN = 30.0
"""Seconds that the reader has for what is under way when all is sent."""
_log = logging.getLogger(__name__)

PublishLine = Line[LogChunk, Credit]
Publish = Callable[[str], AbstractAsyncContextManager[PublishLine]]
"""Open a log stream to the manager at this address."""
Lines = Callable[[Id, LogOrder], AsyncGenerator[LogLine, None]]


class SlowReader(ShoalError):
    """The other side took everything and still holds the stream open."""


class LogReader:
    """`order` what to read; `run` is the parent of the readers."""

    def __init__(
        self,
        engine: Engine,
        *,
        container_of: Callable[[Id], str | None],
        ended: Callable[[Id], bool],
        publish: Publish,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._container_of = container_of
        self._ended = ended
        self._publish = publish
        self._clock = clock
        self._orders: asyncio.Queue[LogOrder] = asyncio.Queue()
        self._streams: dict[Id, _Stream] = {}

    def order(self, order: LogOrder) -> None:
        self._orders.put_nowait(order)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                order = await self._orders.get()
                stream = self._streams.get(order.stream)
                if stream is not None:
                    stream.more(order)
                elif not order.stop:
                    self._streams[order.stream] = stream = _Stream(order, self._lines, self._clock)
                    group.create_task(self._serve(stream, order), name=f"logs {order.stream}")

    async def _serve(self, stream: "_Stream", order: LogOrder) -> None:
        try:
            async with self._publish(order.addr) as line:
                await stream.run(line)
        except* (ShoalError, OSError) as broken:
            _log.info("log stream %s to %s: %s", order.stream, order.addr, broken.exceptions[0])
        finally:
            self._streams.pop(order.stream, None)

    async def _lines(self, task_id: Id, order: LogOrder) -> AsyncGenerator[LogLine, None]:
        container_id = await self._wait_container(task_id, follow=order.follow)
        if container_id is None:
            return
        lines = self._engine.logs(
            container_id,
            follow=order.follow,
            tail=order.tail,
            since=order.since,
            until=order.until,
            stdout=order.stdout,
            stderr=order.stderr,
        )
        async with aclosing(lines):
            async for line in lines:
                yield line

    async def _wait_container(self, task_id: Id, *, follow: bool) -> str | None:
        """A task that is being prepared has none yet; one that failed before never will."""
        while (container_id := self._container_of(task_id)) is None and follow and not self._ended(task_id):
            await self._clock.sleep(CONTAINER_POLL)
        return container_id


class _Stream:
    """One client's reading of logs of tasks on this node."""

    def __init__(self, order: LogOrder, lines: Lines, clock: Clock) -> None:
        self._order = order
        self._lines = lines
        self._clock = clock
        self._credits = Credits()
        self._tasks: list[Id] = []
        self._changes = Latest(0)
        self._stopped = False
        self._open = 0
        self.more(order)

    def more(self, order: LogOrder) -> None:
        """Further tasks of the same stream, or the word that nobody reads any more."""
        self._stopped = self._stopped or order.stop
        self._tasks += [task_id for task_id in order.tasks if not order.stop]
        self._changes.set(self._changes.value + 1)

    async def run(self, line: PublishLine) -> None:
        """Until every task's part is over (never, when following) or the reader is gone."""
        async with background(lambda: self._write(line)):
            await first_of(lambda: self._take_credit(line), self._wait_stopped)

    async def _write(self, line: PublishLine) -> None:
        await line.send(LogChunk(stream=self._order.stream, task_id=""))  # whose stream it is, however long nothing is said
        await self._read_all(line)
        await line.finish()
        await self._clock.sleep(CLOSE_WITHIN)  # the reader ends its side once it has everything
        raise SlowReader(f"log stream {self._order.stream}: the reader did not end it")

    async def _read_all(self, line: PublishLine) -> None:
        begun: set[Id] = set()
        async with asyncio.TaskGroup() as group:
            while self._order.follow or self._open or len(begun) < len(set(self._tasks)):
                seen = self._changes.revision
                for task_id in [task_id for task_id in dict.fromkeys(self._tasks) if task_id not in begun]:
                    begun.add(task_id)
                    self._open += 1
                    group.create_task(self._read(task_id, line), name=f"log of {task_id}")
                await self._changes.wait_change(seen)

    async def _read(self, task_id: Id, line: PublishLine) -> None:
        stream, error = self._order.stream, ""
        try:
            async for entry in self._lines(task_id, self._order):
                for piece in pieces(entry.line):
                    await self._credits.take(len(piece))
                    await line.send(LogChunk(stream=stream, task_id=task_id, source=entry.source, timestamp=entry.timestamp, content=piece))
        except EngineError as failed:
            error = str(failed)
        await line.send(LogChunk(stream=stream, task_id=task_id, end=True, error=error))
        self._open -= 1
        self._changes.set(self._changes.value + 1)

    async def _take_credit(self, line: PublishLine) -> None:
        async for credit in line.received():
            if credit.stop:
                return
            self._credits.grant(credit.bytes)

    async def _wait_stopped(self) -> None:
        while not self._stopped:
            await self._changes.wait_change(self._changes.revision)
