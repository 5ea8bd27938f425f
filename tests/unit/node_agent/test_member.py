"""When a manager asks to be one of Raft's members."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.contracts import MemberRequest
from cluster.api.errors import Unavailable
from manager.raft.config import Leadership
from manager.raft.core.membership import Member as RaftMember
from manager.raft.core.membership import MemberId, Membership
from manager.raft.driver import Raft
from node_agent.member import SILENCE, Member
from tests.sim.manager_host import PacedClock
from tests.sim.virtual_time import run

ME, OTHER = MemberId("me"), MemberId("other")
ADDRESS = "10.0.0.1:2377"
HEARD = Leadership(term=1, leader=OTHER)
SILENT = Leadership(term=1)


def members(*named: tuple[MemberId, str]) -> Membership:
    return Membership(members=tuple(RaftMember(id=member, address=address) for member, address in named))


class Standing:
    """A manager whose log says this, and what it asks for."""

    def __init__(self, known: Membership, leadership: Leadership) -> None:
        self.membership, self.leadership = Latest(known), Latest(leadership)
        self.asked: list[float] = []
        raft = SimpleNamespace(me=ME, membership=self.membership, leadership=self.leadership, status=lambda: SimpleNamespace(last_index=7))
        self.member = Member(cast("Raft", raft), address=ADDRESS, ask=self._ask, clock=PacedClock(1, 0))

    async def _ask(self, request: MemberRequest) -> None:
        assert (request.addr, request.last_index) == (ADDRESS, 7)
        self.asked.append(asyncio.get_running_loop().time() - 1000)
        raise Unavailable("not now")

    def times_asked_within(self, seconds: float) -> int:
        async def live() -> None:
            async with background(self.member.run):
                await asyncio.sleep(seconds)

        run(live())
        return len(self.asked)


def test_a_member_that_hears_a_leader_asks_for_nothing() -> None:
    assert Standing(members((ME, ADDRESS), (OTHER, "b:1")), HEARD).times_asked_within(100) == 0


@pytest.mark.parametrize("known", [members((OTHER, "b:1")), members((ME, "10.0.0.9:2377"), (OTHER, "b:1"))])
def test_one_that_its_log_does_not_name_or_names_elsewhere_asks_until_it_does(known: Membership) -> None:
    assert 5 <= Standing(known, HEARD).times_asked_within(9.5) <= 10


def test_one_that_hears_nobody_doubts_its_log_which_may_be_older_than_its_removal() -> None:
    standing = Standing(members((ME, ADDRESS), (OTHER, "b:1")), SILENT)
    assert standing.times_asked_within(20) >= 3
    assert standing.asked[0] == pytest.approx(SILENCE, abs=0.01)


def test_an_election_alone_is_no_reason_for_doubt() -> None:
    standing = Standing(members((ME, ADDRESS), (OTHER, "b:1")), SILENT)

    async def live() -> None:
        async with background(standing.member.run):
            for term in range(2, 6):
                await asyncio.sleep(SILENCE / 2)
                standing.leadership.set(Leadership(term=term))
                await asyncio.sleep(SILENCE / 4)
                standing.leadership.set(Leadership(term=term, leader=OTHER))

    run(live())
    assert standing.asked == []
