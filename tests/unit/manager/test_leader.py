"""A leader's loop that dies, returns or is stuck costs the leadership at once; one that waits for work, or is refused, does not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.rounds import Rounds
from cluster.aio.supervise import LoopReturned
from cluster.api.changes import Put
from cluster.api.objects import Cluster, Node
from manager.allocator.loop import Allocator
from manager.ca.service import CertificateService
from manager.controlapi.control import Control
from manager.dispatcher.dispatcher import Dispatcher
from manager.guests import GuestDesk
from manager.leader import STUCK_AFTER, Leading, LoopStuck, lead
from manager.membership import MembershipKeeper
from manager.store.memory import MemoryProposer
from manager.store.store import Store


def leading(*loops: Callable[[], Awaitable[None]], rounds: Rounds) -> Leading:
    """Only its loops: nobody calls the rest."""
    return Leading(
        term=1,
        control=cast("Control", None),
        certificates=cast("CertificateService", None),
        dispatcher=cast("Dispatcher", None),
        membership=cast("MembershipKeeper", None),
        guests=cast("GuestDesk", None),
        loops=loops,  # type: ignore[arg-type]
        rounds=(rounds,),
    )


class Term:
    """A leader's loops under way on a clock that the test turns."""

    def __init__(self, *loops: Callable[[], Awaitable[None]], rounds: Rounds) -> None:
        self.clock = ManualClock()
        self.given_up: list[Exception] = []
        self.task = asyncio.ensure_future(lead(leading(*loops, rounds=rounds), self.clock, give_up=self.given_up.append))

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_round_that_never_ends_gives_leadership_up_and_says_which() -> None:
    rounds = Rounds("scheduler")

    async def stuck() -> None:
        with rounds.round():
            await for_ever()

    term = Term(stuck, rounds=rounds)
    await term.clock.advance(STUCK_AFTER - 1)
    assert not term.given_up
    await term.clock.advance(1)
    assert [str(why) for why in term.given_up] == [f"the scheduler has not ended a round for {STUCK_AFTER} s"]
    with pytest.raises(ExceptionGroup) as failed:
        await term.task
    assert failed.group_contains(LoopStuck)


async def test_leadership_is_given_up_before_a_loop_that_does_not_let_go_has_ended() -> None:
    let_go = asyncio.Event()

    async def deaf() -> None:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()

    async def dies() -> None:
        raise ValueError("a defect")

    term = Term(deaf, dies, rounds=Rounds("x"))
    await term.clock.advance(1)
    assert (str(term.given_up[0]), term.task.done()) == ("a defect", False)
    let_go.set()
    with pytest.raises(ExceptionGroup):
        await term.task


async def test_a_loop_that_returns_gives_leadership_up() -> None:
    async def returns() -> None:
        return

    term = Term(returns, rounds=Rounds("x"))
    with pytest.raises(ExceptionGroup):
        await term.task
    assert isinstance(term.given_up[0], LoopReturned)


async def test_waiting_for_work_is_no_round_and_short_rounds_are_told_apart() -> None:
    rounds = Rounds("allocator")
    term = Term(for_ever, rounds=rounds)
    for _ in range(3 * STUCK_AFTER):
        with rounds.round():
            await term.clock.advance(1.0)
    await term.clock.advance(1000)
    assert not term.given_up
    await term.end()


async def test_a_real_loop_whose_proposal_never_returns_is_stuck() -> None:
    store, clock = Store(), ManualClock()
    await MemoryProposer(store, clock).propose([Put(object=Cluster(id="c")), Put(object=Node(id="n"))])

    class Silent:
        async def propose(self, changes: object) -> int:
            await asyncio.Event().wait()
            return 0

    allocator = Allocator(store, Silent(), clock)
    term = Term(allocator.run, rounds=allocator.rounds)
    await term.clock.advance(STUCK_AFTER)
    assert [str(why) for why in term.given_up] == [f"the allocator has not ended a round for {STUCK_AFTER} s"]
    with pytest.raises(ExceptionGroup):
        await term.task
