"""Callers' proposals, gathered into few batches."""

import asyncio

from manager.raft.core.effects import Proposed
from manager.raft.core.events import Propose
from manager.raft.proposals import FEW, Proposals


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
    assert not waiting.begins_to_gather()
    assert sent(waiting, first=1) == 1


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


async def test_who_is_told_that_some_gather_lets_them_go() -> None:
    waiting = proposals()
    waiting.enter(b"a")
    sent(waiting, first=1)
    waiting.enter(b"b")
    assert waiting.begins_to_gather()
    waiting.enter(b"c")
    assert not waiting.begins_to_gather()  # it was said
    waiting.let_go()
    assert sent(waiting, first=2) == 2
    waiting.enter(b"d")
    assert waiting.begins_to_gather()  # of the next, anew
    assert not waiting.may_go


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
