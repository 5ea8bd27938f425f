"""What only the leader runs: one TaskGroup, one list of loops. One that dies, returns, or gets stuck costs the node its leadership."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.aio.rounds import Rounds
from cluster.aio.supervise import LoopReturned
from manager.ca.service import CertificateService
from manager.controlapi.control import Control
from manager.dispatcher.dispatcher import Dispatcher
from manager.guests import GuestDesk
from manager.membership import MembershipKeeper

Loop = Callable[[], Coroutine[Any, Any, None]]

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the loops come round."""
STUCK_AFTER = 15
"""Looks at one and the same round. It takes milliseconds, or as long as one proposal: a log that takes none ends by itself the leadership
of who cannot reach a majority (1.2 s) or has a disk that hangs (1 s), so this is a loop that waits for what never comes.
"""


class LoopStuck(RuntimeError):
    """A loop has work to do and does not come round."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"the {name} has not ended a round for {seconds:.0f} s")
        self.name, self.seconds = name, seconds


class Leading(Struct, frozen=True, kw_only=True):
    """A term of leadership: what serves the calls that only a leader answers, and its loops."""

    term: int
    control: Control
    certificates: CertificateService
    dispatcher: Dispatcher
    membership: MembershipKeeper
    guests: GuestDesk
    loops: Sequence[Loop]
    rounds: Sequence[Rounds] = ()
    """Of those loops that have some."""


async def lead(leading: Leading, clock: Clock, *, give_up: Callable[[Exception], None]) -> None:
    """Run until cancelled. Raises an ExceptionGroup as soon as one loop fails, returns or is stuck; `give_up` hears of it before the
    others have ended, as one that is stuck may not.
    """
    async with asyncio.TaskGroup() as group:
        for loop in (*leading.loops, lambda: _supervise(leading.rounds, clock)):
            group.create_task(_without_end(loop, give_up), name=loop.__qualname__)


async def _without_end(loop: Loop, give_up: Callable[[Exception], None]) -> None:
    try:
        await loop()
        raise LoopReturned(loop.__qualname__)
    except Exception as failed:
        give_up(failed)
        raise


async def _supervise(rounds: Sequence[Rounds], clock: Clock) -> None:
    """A round that was refused has ended: another leader would be refused the same. One that never ends is another matter."""
    while True:
        await clock.sleep(LOOK_EVERY)
        for one in rounds:
            if (looks := one.look()) >= STUCK_AFTER:
                raise LoopStuck(one.name, looks * LOOK_EVERY)
