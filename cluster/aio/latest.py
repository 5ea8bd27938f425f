"""A value that changes; whoever waits sees the latest, missed ones don't matter (STYLE rule 2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """One writer, any number of readers, one event loop."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._revision = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def value(self) -> T:
        return self._value

    @property
    def revision(self) -> int:
        """Grows by one with every `set`."""
        return self._revision

    def set(self, value: T) -> None:
        self._value = value
        self._revision += 1
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            if not reader.done():
                reader.set_result(None)

    async def wait_change(self, seen: int) -> int:
        """Wait until the revision is past `seen`; returns the present one."""
        while self._revision <= seen:
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(reader)
            try:
                await reader
            finally:
                if reader in self._waiting:
                    self._waiting.remove(reader)
        return self._revision

    async def wait_change_within(self, limit: AbstractAsyncContextManager[object], seen: int) -> None:
        """As `wait_change`, but no longer than a `Clock.limit` lets it."""
        try:
            async with limit:
                await self.wait_change(seen)
        except TimeoutError:
            pass

    async def values(self) -> AsyncIterator[T]:
        """The present value, then the latest after each change, without end."""
        seen = self._revision
        yield self._value
        while True:
            seen = await self.wait_change(seen)
            yield self._value
