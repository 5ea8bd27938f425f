"""What only the leader runs: one TaskGroup, one list of loops. One that dies, or returns, costs the node its leadership."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from cluster.aio.supervise import LoopReturned
from manager.ca.service import CertificateService
from manager.controlapi.control import Control
from manager.dispatcher.dispatcher import Dispatcher
from manager.guests import GuestDesk
from manager.membership import MembershipKeeper

Loop = Callable[[], Coroutine[Any, Any, None]]


class Leading(Struct, frozen=True, kw_only=True):
    """A term of leadership: what serves the calls that only a leader answers, and its loops."""

    control: Control
    certificates: CertificateService
    dispatcher: Dispatcher
    membership: MembershipKeeper
    guests: GuestDesk
    loops: Sequence[Loop]


async def lead(leading: Leading) -> None:
    """Run until cancelled. Raises an ExceptionGroup as soon as one loop fails or returns."""
    async with asyncio.TaskGroup() as group:
        for loop in leading.loops:
            group.create_task(_without_end(loop), name=loop.__qualname__)


async def _without_end(loop: Loop) -> None:
    await loop()
    raise LoopReturned(loop.__qualname__)
