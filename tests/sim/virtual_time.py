"""An event loop whose clock jumps: when nothing can run, time passes to the next timer at once. No test waits, none is late."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Asked to wait for some time, it lets that time pass on the loop's clock instead."""

    def __init__(self, pass_time: Callable[[float], None], *, is_alone: bool) -> None:
        super().__init__()
        self._pass_time = pass_time
        self._is_alone = is_alone

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = [] if self._is_alone else super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            self._pass_time(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at second 1000. One that `is_alone` has no threads or sockets to look after, and need not ask."""

    def __init__(self, *, is_alone: bool = False) -> None:
        self._now = 1000.0
        super().__init__(_Selector(self._pass, is_alone=is_alone))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += max(seconds, 1e-6)


def run(main: Coroutine[Any, Any, T], *, at_most: float = 600.0) -> T:
    """Run on virtual time; fail if it takes longer than `at_most` seconds of it."""

    async def bounded() -> T:
        async with asyncio.timeout(at_most):
            return await main

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())
