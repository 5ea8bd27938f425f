"""Orders are written in order, many with one sync; a full disk is waited out, any other failure is told at once. Both writers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from manager.raft.core.effects import Install, Persist
from manager.raft.core.entries import Command, HardState, SnapshotMeta
from manager.raft.errors import StorageFull
from manager.raft.memory import MemoryStorage
from manager.raft.ports import Storage
from manager.raft.writer import LoopWriter, ThreadWriter, Writer

MAKERS: list[Callable[[Storage], Writer]] = [ThreadWriter, LoopWriter]


class Told:
    """What the writer reported, and a way to wait for it."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.installed: list[int] = []
        self.full: list[bool] = []
        self.failed: list[BaseException] = []
        self._news = asyncio.Event()

    def on_written(self, orders: list[Persist]) -> None:
        self.written.append([order.ticket for order in orders])
        self._news.set()

    def on_installed(self, install: Install) -> None:
        self.installed.append(install.ticket)
        self._news.set()

    def on_full(self, full: StorageFull | None) -> None:
        self.full.append(full is not None)
        self._news.set()

    def on_failed(self, failure: BaseException) -> None:
        self.failed.append(failure)
        self._news.set()

    @property
    def tickets(self) -> list[int]:
        return [ticket for batch in self.written for ticket in batch]

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()


def order(ticket: int, *, size: int = 1) -> Persist:
    entry = Command(index=ticket, term=1, payload=bytes(size))
    return Persist(ticket=ticket, hard=HardState(term=1), entries=(entry,), commit=0, release=())


class CountingStorage(MemoryStorage):
    """Counts syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        super().sync()


@pytest.fixture(params=MAKERS, ids=["thread", "loop"])
def make(request: pytest.FixtureRequest) -> Callable[[Storage], Writer]:
    maker: Callable[[Storage], Writer] = request.param
    return maker


async def test_orders_are_reported_in_order_once_they_are_durable(make: Callable[[Storage], Writer]) -> None:
    storage, told = CountingStorage(), Told()
    writer = make(storage)
    writer.start(told)
    for ticket in range(1, 101):
        writer.order(order(ticket))
    await told.until(lambda: len(told.tickets) == 100)
    assert told.tickets == list(range(1, 101))
    assert len(storage.load().entries) == 100
    assert storage.syncs < 100
    writer.stop()


async def test_other_work_comes_after_what_was_ordered_before_it(make: Callable[[Storage], Writer]) -> None:
    storage, told = MemoryStorage(), Told()
    writer = make(storage)
    writer.start(told)
    writer.order(order(1))
    assert await writer.submit(lambda: len(storage.load().entries)) == 1
    assert await writer.read(lambda: 42) == 42
    writer.stop()


async def test_work_that_fails_tells_whoever_submitted_it(make: Callable[[Storage], Writer]) -> None:
    def fail() -> None:
        raise ValueError("no")

    writer = make(MemoryStorage())
    writer.start(Told())
    with pytest.raises(ValueError, match="no"):
        await writer.submit(fail)
    writer.stop()


async def test_a_snapshot_is_installed_in_its_place_among_the_orders(make: Callable[[Storage], Writer]) -> None:
    storage, told = MemoryStorage(), Told()
    writer = make(storage)
    writer.start(told)
    writer.order(order(1))
    snapshot = SnapshotMeta(index=50, term=1)
    writer.install(Install(ticket=2, hard=None, snapshot=snapshot, release=()), storage.begin_snapshot(snapshot))
    after = Persist(ticket=3, hard=None, entries=(Command(index=51, term=1, payload=b""),), commit=50, release=())
    writer.order(after)
    await told.until(lambda: told.installed and told.tickets == [1, 3])
    assert [entry.index for entry in storage.load().entries] == [51]
    writer.stop()


async def test_a_full_disk_is_told_once_and_writing_goes_on_when_there_is_room(make: Callable[[Storage], Writer]) -> None:
    storage, told = MemoryStorage(max_entries=2), Told()
    writer = make(storage)
    writer.start(told)
    writer.order(order(1))
    await told.until(lambda: told.tickets == [1])
    for ticket in (2, 3, 4):
        writer.order(order(ticket))
    await told.until(lambda: told.full == [True])

    def make_room() -> None:
        storage.max_entries = None

    await writer.submit(make_room, makes_room=True)
    await told.until(lambda: told.tickets == [1, 2, 3, 4])
    assert told.full == [True, False]
    writer.stop()


async def test_any_other_failure_ends_the_writing_and_is_told(make: Callable[[Storage], Writer]) -> None:
    class Dying(MemoryStorage):
        def sync(self) -> None:
            raise OSError("input/output error")

    told = Told()
    writer = make(Dying())
    writer.start(told)
    writer.order(order(1))
    await told.until(lambda: told.failed)
    assert told.written == []
    writer.stop()


async def test_what_was_ordered_before_the_end_is_written() -> None:
    storage = MemoryStorage()
    writer = ThreadWriter(storage)
    writer.start(Told())
    for ticket in range(1, 51):
        writer.order(order(ticket))
    writer.stop()
    assert len(storage.load().entries) == 50
