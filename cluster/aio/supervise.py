"""Every background task has a parent block; shutdown order is nesting order (STYLE rule 7).

`async with background(raft.run), background(api.run):` ends api first, raft last. A background loop that fails ends the block's
body with its error; one that returns is a bug and fails too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


class LoopReturned(RuntimeError):
    """A loop that should run until it is cancelled came to an end."""

    def __init__(self, name: str) -> None:
        super().__init__(f"background loop {name} returned; it should run until it is cancelled")
        self.name = name


@asynccontextmanager
async def background(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run the loops beside the block; cancel them, last first, and wait for them when it ends."""
    if not loops:
        yield
        return
    first, *others = loops
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_forever(first), name=_name(first))
            try:
                async with background(*others):
                    yield
            finally:
                running.cancel()
    except BaseExceptionGroup as failed:
        # a group that is ending because of an error forgets that it was cancelled meanwhile (Python 3.11, 3.12)
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from failed
        raise


async def _forever(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await loop()
    raise LoopReturned(_name(loop))


def _name(loop: object) -> str:
    return getattr(loop, "__qualname__", repr(loop))


async def first_of(*waits: Callable[[], Awaitable[object]]) -> int:
    """Wait for whichever comes first, cancel the others and say which it was. An error of the first is raised."""

    async def call(wait: Callable[[], Awaitable[object]]) -> None:
        await wait()

    tasks = [asyncio.ensure_future(call(wait)) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    winner = next(task for task in tasks if task in done)
    winner.result()
    return tasks.index(winner)
