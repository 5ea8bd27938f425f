"""Callers' proposals, gathered into few batches."""

import asyncio

from cluster.aio.company import PATIENCE
from manager.raft.core.effects import Proposed
from manager.raft.core.events import Propose
from manager.raft.proposals import FEW, GATHER_MOMENTS, Proposals


def proposals() -> Proposals:
    return Proposals(max_waiting=1000, max_bytes=1 << 20, max_payload=1000)


def sent(of: Proposals, *, first: int) -> int:
    """Take what may go and put it into the log from that index on; how many there were."""
    count = 0
    for event in of.take():
        assert isinstance(event, Propose)
        of.entered(Proposed(request=event.request, first=first, term=1))
        count += len(event.payloads)
    return count


async def test_a_lone_proposal_goes_at_once() -> None:
    waiting = proposals()
    waiting.enter(b"a")
    assert waiting.may_go
    assert not waiting.gathers
    assert sent(waiting, first=1) == 1
    waiting.applied(1, 1, "done")
    assert not waiting.gathers
    waiting.enter(b"b")
    assert waiting.may_go


async def test_while_one_is_on_its_way_others_gather_until_it_is_applied() -> None:
    waiting = proposals()
    first = waiting.enter(b"a")
    sent(waiting, first=1)
    for payload in (b"b", b"c"):
        waiting.enter(payload)
    assert sent(waiting, first=2) == 0
    waiting.applied(1, 1, "done")
    assert await first == "done"
    assert sent(waiting, first=2) == 2


async def test_enough_of_them_do_not_wait() -> None:
    waiting = proposals()
    waiting.enter(b"a")
    sent(waiting, first=1)
    for _ in range(FEW - 1):
        waiting.enter(b"b")
    assert sent(waiting, first=2) == 0
    waiting.enter(b"b")
    assert sent(waiting, first=2) == FEW
    for _ in range(FEW):
        waiting.enter(b"c")
    assert sent(waiting, first=100) == 0  # as many as are on their way, which is one more
    waiting.enter(b"c")
    assert sent(waiting, first=100) == FEW + 1


async def test_what_gathers_goes_after_some_moments_in_any_case() -> None:
    waiting = proposals()
    waiting.enter(b"a")
    sent(waiting, first=1)
    for _ in range(GATHER_MOMENTS):
        waiting.enter(b"b")
        assert waiting.gathers
        assert not waiting.may_go
        waiting.moment()
    assert not waiting.gathers
    assert sent(waiting, first=2) == GATHER_MOMENTS
    waiting.enter(b"d")
    assert waiting.gathers  # the next begin anew
    assert not waiting.may_go


async def answered(of: Proposals, count: int, *, meanwhile: int) -> None:
    """So many went together and were answered, while others came."""
    for _ in range(count):
        of.enter(b"a")
    assert sent(of, first=1) == count
    for _ in range(meanwhile):
        of.enter(b"b")
    for index in range(count):
        of.applied(1 + index, 1, "done")


async def test_who_was_answered_together_goes_together_again() -> None:
    waiting = proposals()
    await answered(waiting, 3, meanwhile=1)
    for _ in range(3):
        assert waiting.gathers
        assert not waiting.may_go
        waiting.enter(b"again")
    assert not waiting.gathers
    assert sent(waiting, first=4) == 4


async def test_nobody_is_waited_for_who_does_not_come() -> None:
    waiting = proposals()
    await answered(waiting, 3, meanwhile=0)
    waiting.enter(b"again")
    for _ in range(1 + PATIENCE):  # in the first of them, one came
        assert waiting.gathers
        waiting.moment()
    assert not waiting.gathers
    assert sent(waiting, first=4) == 1


async def test_once_nobody_came_the_next_goes_at_once() -> None:
    waiting = proposals()
    await answered(waiting, 3, meanwhile=0)
    while waiting.gathers:
        waiting.moment()
    waiting.enter(b"much later")
    assert waiting.may_go


async def test_when_leadership_is_lost_nothing_is_held_back_for_what_was_on_its_way() -> None:
    waiting = proposals()
    lost = waiting.enter(b"a")
    sent(waiting, first=1)
    waiting.enter(b"b")
    waiting.lose_all()
    assert isinstance(lost.exception(), Exception)
    assert sent(waiting, first=1) == 1


async def test_what_is_refused_makes_room_again() -> None:
    waiting = proposals()
    refused = [asyncio.ensure_future(waiting.enter(b"a")) for _ in range(3)]
    waiting.refuse_all(lambda: RuntimeError("no"))
    assert waiting.waiting == 0
    assert [type(one.exception()) for one in refused] == [RuntimeError] * 3
