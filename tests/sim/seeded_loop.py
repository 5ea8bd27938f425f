"""An event loop that is decided by a seed: time is virtual, what can run at the same moment runs in an order drawn from the seed.

Two things of asyncio would differ from run to run, and are replaced: tasks are kept in sets by their address (they get a number for a
hash), and async generators are finished from the garbage collector (it does not run meanwhile).
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from random import Random
from typing import Any

from tests.sim.virtual_time import VirtualLoop


class SeededTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(self, loop: "SeededLoop", work: Coroutine[Any, Any, Any], **keywords: Any) -> None:
        self.number = loop.count()  # asyncio hashes it while it is made
        super().__init__(work, loop=loop, **keywords)

    def __hash__(self) -> int:
        return self.number


class SeededLoop(VirtualLoop):
    """`observe` is called after every step of the loop, before time passes."""

    def __init__(self, rng: Random, *, shuffles: float) -> None:
        super().__init__(is_alone=True)
        self.observe: Callable[[], None] = lambda: None
        self.failure: BaseException | None = None
        self.steps = 0
        self._rng = rng
        self._shuffles = shuffles
        self._numbers = 0
        self.set_task_factory(SeededTask)  # type: ignore[arg-type]
        self.set_exception_handler(self._on_failure)

    def count(self) -> int:
        self._numbers += 1
        return self._numbers

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *arguments, context=context)  # there is one thread

    def _run_once(self) -> None:
        self.steps += 1
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1 and self._rng.random() < self._shuffles:
            handles = list(ready)
            self._rng.shuffle(handles)
            ready.clear()
            ready.extend(handles)
        super()._run_once()  # type: ignore[misc]
        if self.failure is None:
            self.observe()

    def _on_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised, or a task died unseen: nothing in a simulation may do that."""
        self.fail(context.get("exception") or RuntimeError(context["message"]))

    def fail(self, failure: BaseException) -> None:
        """The first failure ends the run."""
        if self.failure is None:
            self.failure = failure
            self.stop()


@contextmanager
def seeded_loop(rng: Random, *, shuffles: float) -> Generator[SeededLoop, None, None]:
    """A loop for the block; what still runs at its end is cancelled."""
    gc.disable()
    gc.freeze()
    loop = SeededLoop(rng, shuffles=shuffles)
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.observe = lambda: None
        loop.set_exception_handler(lambda *_: None)
        for _ in range(3):
            _end_all(loop)
            gc.collect()  # what it finishes, it finishes by tasks of this loop
        asyncio.set_event_loop(None)
        loop.close()
        gc.unfreeze()
        gc.enable()


def _end_all(loop: SeededLoop) -> None:
    for task in sorted(asyncio.all_tasks(loop), key=hash):
        task.cancel()
    loop.call_later(1.0, loop.stop)
    loop.run_forever()


def run_until(loop: SeededLoop, main: Coroutine[Any, Any, None]) -> None:
    """Until `main` returns, or anything fails."""
    task = loop.create_task(main)
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    if loop.failure is not None:
        task.cancel()
        raise loop.failure
    task.result()
