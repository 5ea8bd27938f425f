"""Whichever manager a client asks, one leader answers, also when leaders change in the middle of the question."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from cluster.aio.latest import Latest
from cluster.api.assignment import FromNode
from cluster.api.commands import Command, Outcome, RemoveNode, RemoveSecret
from cluster.api.contracts import Answer, Caller, Commands, ControlAPI, Taken
from cluster.api.errors import FailedPrecondition, NoLeader, ShoalError, Unavailable, code_of
from cluster.api.states import Role
from cluster.rpc.client import RpcError
from cluster.rpc.pool import Remotes
from manager.gateway import Gateway
from manager.leader import Leading

ME = Caller(node_id="m3", role=Role.MANAGER)
COMMAND = RemoveNode(id="n1")
ENCODED = Commands((msgspec.msgpack.encode(COMMAND),), term=4)
HOPELESS = "hopeless"
DONE = Outcome(id="n1", version=7)


class Cluster:
    """The other managers, each with what it does when it is asked; and who leads."""

    def __init__(self) -> None:
        self.leader = Latest("m1")
        self.answers: dict[str, list[Callable[[], Awaitable[Outcome]]]] = {}
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.hastened: list[str] = []
        self.gateway = Gateway(self, cast("Remotes", self))

    # -- Leadership
    def leading(self) -> Leading | None:
        return None

    def leader_addr(self) -> str:
        return self.leader.value

    def term(self) -> int:
        return 4

    async def wait_leader(self) -> None:
        async for leader in self.leader.values():
            if leader == HOPELESS:
                raise self.no_leader()
            if leader:
                return

    def no_leader(self, *hints: str) -> NoLeader:
        return NoLeader("; ".join(("nothing is heard of m2", *hints)))

    async def wait_other_than(self, address: str) -> None:
        async for leader in self.leader.values():
            if leader != address:
                return

    def hasten(self, node_id: str) -> None:
        self.hastened.append(node_id)

    # -- Remotes
    def to(self, address: str) -> "Peer":
        return Peer(self, address)

    async def ask(self) -> Outcome:
        async with asyncio.timeout(5):
            return await self.gateway.have_executed(ME, COMMAND)


class Peer:
    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster, self._address = cluster, address

    async def unary(self, method: object, request: object, *, timeout: float) -> Any:
        assert (method, request) == (ControlAPI.execute, ENCODED)
        self._cluster.asked.append(self._address)
        self._cluster.was_asked.set()
        try:
            return (Answer(outcome=await self._cluster.answers[self._address].pop(0)()),)
        except (RpcError, NoLeader):
            raise
        except ShoalError as refused:
            return (Answer(code=code_of(refused), text=str(refused)),)


async def done() -> Outcome:
    return DONE


async def silence() -> Outcome:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def raises(error: ShoalError) -> Callable[[], Awaitable[Outcome]]:
    async def refuse() -> Outcome:
        raise error

    return refuse


async def test_a_leader_that_fell_silent_is_left_for_its_successor() -> None:
    cluster = Cluster()
    cluster.answers = {"m1": [silence], "m2": [done]}
    asking = asyncio.ensure_future(cluster.ask())
    await cluster.was_asked.wait()
    cluster.leader.set("")
    cluster.leader.set("m2")
    assert await asking == DONE
    assert cluster.asked == ["m1", "m2"]


@pytest.mark.parametrize("lost", [RpcError("manager m1 cannot be reached"), NoLeader("this manager does not lead any more")])
async def test_a_question_that_was_lost_is_asked_again(lost: ShoalError) -> None:
    cluster = Cluster()
    cluster.answers = {"m1": [raises(lost), done]}
    assert await cluster.ask() == DONE
    assert cluster.asked == ["m1", "m1"]


@pytest.mark.parametrize("refusal", [FailedPrecondition("not now"), Unavailable("3 proposals are waiting to be committed")])
async def test_a_refusal_is_the_answer(refusal: ShoalError) -> None:
    cluster = Cluster()
    cluster.answers = {"m1": [raises(refusal), done]}
    with pytest.raises(type(refusal), match=str(refusal)):
        await cluster.ask()


async def test_without_hope_for_a_leader_the_refusal_says_why_and_comes_at_once() -> None:
    cluster = Cluster()
    cluster.leader.set(HOPELESS)
    with pytest.raises(NoLeader, match="nothing is heard of m2") as refused:
        await cluster.ask()
    assert "later all the same" not in str(refused.value), "nobody was asked, so nothing can have been done"
    assert cluster.asked == []


async def test_what_may_have_been_done_is_said_to_be_unsure() -> None:
    cluster = Cluster()
    cluster.answers = {"m1": [silence]}
    asking = asyncio.ensure_future(cluster.ask())
    await cluster.was_asked.wait()
    cluster.leader.set(HOPELESS)
    with pytest.raises(NoLeader, match="nothing is heard of m2; what was asked for may be done later all the same"):
        await asking


async def test_during_an_election_a_session_waits_for_its_outcome_and_is_sent_there() -> None:
    cluster = Cluster()
    cluster.leader.set("")
    opening = asyncio.ensure_future(anext(cluster.gateway.session(ME, nothing())))
    await asyncio.sleep(0)
    assert not opening.done()
    cluster.leader.set("m2")
    with pytest.raises(NoLeader, match="does not lead") as refused:
        await opening
    assert refused.value.leader_addr == "m2"


async def nothing() -> AsyncIterator[FromNode]:
    for message in list[FromNode]():
        yield message


async def test_what_only_the_leader_does_itself_is_refused_with_its_address() -> None:
    with pytest.raises(NoLeader, match="does not lead") as refused:
        await Cluster().gateway.leave(ME, Taken())
    assert refused.value.leader_addr == "m1"


@pytest.mark.parametrize("leader", ["m1", ""])
async def test_what_was_passed_on_here_is_neither_passed_on_again_nor_kept_for_later(leader: str) -> None:
    """Its sender asks the next leader, is refused there and says so: then no second copy may come and do it all the same."""
    cluster = Cluster()
    cluster.leader.set(leader)
    cluster.answers = {"m1": [done]}
    with pytest.raises(NoLeader, match="does not lead") as refused:
        await cluster.gateway.execute(ME, ENCODED)
    assert refused.value.leader_addr == leader
    assert cluster.asked == []


class Choosy:
    """Implements what the gateway needs of a leader's control API."""

    async def execute(self, caller: Caller, request: Command) -> Outcome:
        assert (caller, isinstance(request, RemoveNode | RemoveSecret)) == (ME, True)
        if isinstance(request, RemoveSecret):
            raise KeyError("a mistake of ours")
        if request.id == "n2":
            raise FailedPrecondition("n2 is a manager")
        return Outcome(id=request.id, version=8)


async def test_of_several_commands_each_has_an_answer_of_its_own() -> None:
    cluster = Cluster()
    leading = SimpleNamespace(control=Choosy(), term=4)
    cluster.leading = lambda: cast("Leading", leading)  # type: ignore[method-assign]
    encode = msgspec.msgpack.encode
    asked = (encode(RemoveNode(id="n1")), encode(RemoveNode(id="n2")), b"\x93", encode(RemoveSecret(id="s1")), encode(RemoveNode(id="n3")))
    answers = await cluster.gateway.execute(ME, Commands(asked))
    assert [answer.outcome and answer.outcome.id for answer in answers] == ["n1", None, None, None, "n3"]
    assert [answer.code for answer in answers] == ["", "precondition", "invalid", "internal", ""]
    assert answers[1].text == "n2 is a manager"
    assert cluster.hastened == [ME.node_id] * 2, "whoever passed them on waits to see them"


async def test_what_was_late_is_not_done_by_a_leader_that_lost_and_won_an_election_meanwhile() -> None:
    """Its sender has asked the leader between, and told its client what that one said."""
    cluster = Cluster()
    leading = SimpleNamespace(control=Choosy(), term=6)
    cluster.leading = lambda: cast("Leading", leading)  # type: ignore[method-assign]
    with pytest.raises(NoLeader, match="for the leader of term 4, and this is term 6"):
        await cluster.gateway.execute(ME, ENCODED)
