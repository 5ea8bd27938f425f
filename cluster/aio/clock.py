"""Time as an argument: shells take a Clock, tests give them one that they turn by hand."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds since some fixed moment; what delays are measured with."""
        ...

    def wall(self) -> int:
        """ns since 1970 UTC; shown to people, never decides."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def limit(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A block that is left with TimeoutError once it took that long; a task and a timer less than a `sleep` beside it."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def limit(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)


class ManualClock:
    """A clock that a test turns: `advance` wakes the sleepers whose time has come, in order of their time."""

    def __init__(self, *, now: float = 1000.0, wall: int = 1_700_000_000_000_000_000) -> None:
        self._now = now
        self._wall = wall
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> int:
        return self._wall

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._alarm(seconds)

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[object]:
        async with asyncio.timeout(None if seconds > 0 else 0) as limit:
            alarm = self._alarm(seconds)

            def ring(_: object) -> None:
                limit.reschedule(asyncio.get_running_loop().time())

            alarm.add_done_callback(ring)
            try:
                yield limit
            finally:
                alarm.remove_done_callback(ring)

    def _alarm(self, seconds: float) -> asyncio.Future[None]:
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, self._count, woken))
        return woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, and let what it wakes run."""
        until = self._now + seconds
        await _settle()
        while due := sorted(s for s in self._sleepers if s[0] <= until):
            when, _, woken = due[0]
            self._sleepers.remove(due[0])
            self._turn_to(when)
            if not woken.done():
                woken.set_result(None)
            await _settle()
        self._turn_to(until)
        await _settle()

    def _turn_to(self, when: float) -> None:
        self._wall += int((when - self._now) * 1e9)
        self._now = when


async def _settle() -> None:
    """Give everything that can run now the chance to: virtual time passes only when nothing else is left."""
    for _ in range(20):
        await asyncio.sleep(0)
