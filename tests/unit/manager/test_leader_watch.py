"""How long a manager hopes for a leader, and what it says when it gives up; on a clock turned by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.errors import NoLeader
from manager.leader_watch import PATIENCE, SILENT_AFTER, LeaderWatch
from manager.raft.config import Leadership, MemberStatus, RaftStatus
from manager.raft.core.membership import MemberId, Standing
from manager.raft.driver import Raft
from manager.store.store import Store

M1, M2, M3 = MemberId("m1"), MemberId("m2"), MemberId("m3")


class Group:
    """What `m1` sees of three managers."""

    def __init__(self) -> None:
        self.me = M1
        self.leadership = Latest(Leadership())
        self.problem: str | None = None
        self.clock = ManualClock()
        self.watch = LeaderWatch(cast("Raft", self), Store(), self.clock)

    def address_of(self, member: MemberId) -> str | None:
        return f"{member}.lan:2377"

    def status(self) -> RaftStatus:
        members = tuple(MemberStatus(id=one, address=f"{one}.lan:2377", standing=Standing.VOTER) for one in (M1, M2, M3))
        return RaftStatus(
            id=M1, term=1, role="follower", leader=self.leadership.value.leader, commit=0, applied=0, last_index=0, snapshot_index=0,
            is_member=True, waiting=0, stalls=0, storage_problem=self.problem, members=members,
        )  # fmt: skip

    async def elect(self, leader: MemberId | None) -> None:
        self.leadership.set(Leadership(term=self.leadership.value.term + 1, leader=leader, is_me=leader == M1))
        await self.clock.advance(0)


@asynccontextmanager
async def group() -> AsyncIterator[Group]:
    made = Group()
    async with background(made.watch.run):
        yield made


async def test_an_election_is_waited_for() -> None:
    async with group() as seen:
        await seen.elect(M2)
        await seen.clock.advance(60)
        await seen.elect(None)
        waiting = asyncio.ensure_future(seen.watch.wait_leader())
        await seen.clock.advance(PATIENCE - 0.1)
        assert not waiting.done()
        await seen.elect(M3)
        await waiting
        assert seen.watch.leader_addr() == "m3.lan:2377"


async def test_who_waits_when_patience_ends_is_told_and_who_comes_later_at_once() -> None:
    async with group() as seen:
        await seen.elect(M2)
        await seen.elect(None)
        waiting = asyncio.ensure_future(seen.watch.wait_leader())
        await seen.clock.advance(PATIENCE)
        for refused in (waiting, seen.watch.wait_leader()):
            with pytest.raises(NoLeader, match=r"2 of 3 managers are needed and nothing is heard of m2 \(m2.lan:2377\) and m3"):
                await refused


async def test_votes_in_vain_do_not_begin_the_patience_anew() -> None:
    async with group() as seen:
        for _ in range(4):
            await seen.elect(None)
            await seen.clock.advance(PATIENCE / 4)
        with pytest.raises(NoLeader):
            seen.watch.refuse_if_forsaken()


async def test_a_leader_gives_new_patience() -> None:
    async with group() as seen:
        await seen.clock.advance(PATIENCE)
        await seen.elect(M2)
        await seen.elect(None)
        seen.watch.refuse_if_forsaken()


async def test_only_the_silent_ones_are_missing() -> None:
    async with group() as seen:
        await seen.clock.advance(PATIENCE)
        seen.watch.heard(M2)
        assert "2 of 3 managers answer" in str(seen.watch.no_leader())
        await seen.clock.advance(SILENT_AFTER)
        seen.watch.heard(M3)
        seen.watch.heard(M2)
        await seen.clock.advance(SILENT_AFTER / 2)
        seen.watch.heard(M3)
        await seen.clock.advance(SILENT_AFTER / 2)
        assert (seen.watch.answers(M1), seen.watch.answers(M2), seen.watch.answers(M3)) == (True, False, True)


async def test_a_disk_that_takes_nothing_is_the_reason() -> None:
    async with group() as seen:
        seen.problem = "no room left for the Raft log"
        assert "(no room left for the Raft log)" in str(seen.watch.no_leader())
