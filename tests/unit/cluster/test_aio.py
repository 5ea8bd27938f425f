"""Background loops end with their block, in nesting order; a value's readers see the latest; time is turned by hand."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from cluster.aio.backoff import Backoff
from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.aio.supervise import LoopReturned, background, first_of


async def test_loops_end_last_first_when_the_block_ends() -> None:
    ended: list[str] = []

    def loop(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    async with background(loop("raft"), loop("store"), loop("api")):
        await asyncio.sleep(0)
    assert ended == ["api", "store", "raft"]


async def test_a_loop_that_fails_ends_the_block_with_its_error() -> None:
    async def fails() -> None:
        raise OSError("disk")

    with pytest.raises(ExceptionGroup) as failed:
        async with background(fails):
            await asyncio.Event().wait()
    assert failed.group_contains(OSError, match="disk")


async def test_a_loop_that_returns_is_a_bug() -> None:
    async def returns() -> None:
        return

    with pytest.raises(ExceptionGroup) as failed:
        async with background(returns):
            await asyncio.Event().wait()
    assert failed.group_contains(LoopReturned)


async def test_first_of_names_the_winner_and_cancels_the_rest() -> None:
    cancelled: list[bool] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def soon() -> None:
        await asyncio.sleep(0)

    assert await first_of(never, soon) == 1
    assert cancelled == [True]


async def test_readers_of_a_latest_value_skip_what_they_missed() -> None:
    latest = Latest(0)
    seen: list[int] = []

    async def read() -> None:
        async for value in latest.values():
            seen.append(value)
            if value == 3:
                return

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    for value in (1, 2, 3):
        latest.set(value)
    await reading
    assert seen == [0, 3]


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    sleeping = [asyncio.ensure_future(sleep(name, seconds)) for name, seconds in (("late", 2.0), ("early", 1.0), ("never", 9.0))]
    await clock.advance(3)
    assert woken == ["early", "late"]
    sleeping[2].cancel()


async def test_a_limited_wait_ends_with_the_news_or_with_the_limit_whichever_comes_first() -> None:
    clock, latest = ManualClock(), Latest(0)
    waiting = asyncio.ensure_future(latest.wait_change_within(clock.limit(5.0), latest.revision))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert waiting.done()
    waiting = asyncio.ensure_future(latest.wait_change_within(clock.limit(5.0), latest.revision))
    await clock.advance(1.0)
    latest.set(1)
    await waiting
    await clock.advance(9.0)  # a limit that nobody is under any more interrupts nothing
    await latest.wait_change_within(clock.limit(-1.0), latest.revision)  # one that is over already


def test_backoff_doubles_to_its_cap_and_starts_again_after_a_success() -> None:
    backoff = Backoff(first=1, cap=4, rng=Random(1))
    delays = [backoff.next() for _ in range(5)]
    assert all(low <= delay <= high for delay, low, high in zip(delays, (0.5, 1, 2, 2, 2), (1, 2, 4, 4, 4), strict=True))
    backoff.reset()
    assert backoff.next() <= 1


async def test_a_cancellation_that_comes_while_a_block_ends_with_an_error_is_not_forgotten() -> None:
    """Whoever opens its session anew after every error could otherwise not be ended."""
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def lingers() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    async def tries() -> None:
        try:
            async with background(lingers):
                await asyncio.sleep(0)
                raise OSError("the connection broke")
        except* OSError:
            pass

    trying = asyncio.create_task(tries())
    await ending.wait()
    trying.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([trying])
    assert trying.cancelled()
