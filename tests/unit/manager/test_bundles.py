"""What is passed on to the leader goes in few calls, and nobody waits in vain, whoever of them carries the bundles leaves."""

import asyncio

import msgspec
import pytest

from cluster.api.commands import Command, Outcome, RemoveNode
from cluster.api.contracts import Answer, Commands
from cluster.api.errors import Conflict, NoLeader
from cluster.rpc.client import RpcError
from manager import bundles
from manager.bundles import Bundles

_decoder = msgspec.msgpack.Decoder(Command)


class Leader:
    """Answers a call when it is told to."""

    def __init__(self, *, moment: float = 0) -> None:
        self.calls: list[tuple[list[str], asyncio.Future[tuple[Answer, ...]]]] = []
        self.bundles = Bundles(self._call, moment=moment)

    async def _call(self, address: str, commands: Commands) -> tuple[Answer, ...]:
        assert address == "m1:2377"
        answer: asyncio.Future[tuple[Answer, ...]] = asyncio.get_running_loop().create_future()
        self.calls.append(([_decoder.decode(one).id for one in commands.encoded], answer))
        return await answer

    def ask(self, *names: str) -> list[asyncio.Task[Outcome]]:
        return [asyncio.ensure_future(self.bundles.ask("m1:2377", RemoveNode(id=name))) for name in names]

    def grant(self, number: int) -> None:
        names, answer = self.calls[number]
        answer.set_result(tuple(Answer(outcome=Outcome(id=name, version=7)) for name in names))

    @property
    def asked(self) -> list[list[str]]:
        return [names for names, _ in self.calls]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_comes_in_one_turn_goes_in_one_call() -> None:
    leader = Leader()
    asking = leader.ask("a", "b", "c")
    await settle()
    leader.grant(0)
    assert [outcome.id for outcome in await asyncio.gather(*asking)] == ["a", "b", "c"]
    assert leader.asked == [["a", "b", "c"]]


async def test_those_that_were_answered_together_go_together_again() -> None:
    leader = Leader(moment=60)
    first = leader.ask("a", "b", "c")
    await settle()
    leader.grant(0)
    await asyncio.gather(*first)
    again = []
    for name in "def":
        again += leader.ask(name)
        await settle()
    leader.grant(1)
    await asyncio.gather(*again)
    assert leader.asked == [["a", "b", "c"], ["d", "e", "f"]]


async def test_as_many_as_fit_in_a_call_wait_for_nobody() -> None:
    leader = Leader(moment=60)
    first = leader.ask("a", "b")
    await settle()
    meanwhile = leader.ask(*(f"c{number}" for number in range(bundles.MOST_COMMANDS)))
    await settle()
    leader.grant(0)
    await asyncio.gather(*first)
    await settle()
    leader.grant(1)
    await asyncio.gather(*meanwhile)
    assert [len(names) for names in leader.asked] == [2, bundles.MOST_COMMANDS]


async def test_one_that_comes_without_them_is_not_held_back_for_long() -> None:
    leader = Leader()
    first = leader.ask("a", "b", "c")
    await settle()
    leader.grant(0)
    await asyncio.gather(*first)
    (alone,) = leader.ask("d")
    assert len(leader.calls) == 1
    await settle()
    leader.grant(1)
    assert (await alone).id == "d"


async def test_while_a_call_is_under_way_what_comes_gathers_for_the_next() -> None:
    leader = Leader()
    asking = []
    for name in "abcd":
        asking += leader.ask(name)
        await settle()
    assert leader.asked == [["a"]]
    leader.grant(0)
    await settle()
    assert leader.asked == [["a"], ["b", "c", "d"]]
    leader.grant(1)
    assert [outcome.id for outcome in await asyncio.gather(*asking)] == list("abcd")


async def test_a_refusal_is_that_of_the_one_it_is_meant_for() -> None:
    leader = Leader()
    asking = leader.ask("a", "b")
    await settle()
    leader.calls[0][1].set_result((Answer(code="conflict", text="a exists"), Answer(outcome=Outcome(id="b", version=7))))
    with pytest.raises(Conflict, match="a exists"):
        await asking[0]
    assert (await asking[1]).id == "b"


@pytest.mark.parametrize("lost", [NoLeader("m1 does not lead any more"), RpcError("the connection broke")])
async def test_a_call_that_is_lost_is_lost_for_all_that_it_carried(lost: Exception) -> None:
    leader = Leader()
    asking = leader.ask("a", "b")
    await settle()
    leader.calls[0][1].set_exception(lost)
    for one in asking:
        with pytest.raises(type(lost)):
            await one
    again = leader.ask("a")
    await settle()
    leader.grant(1)
    await again[0]


@pytest.mark.parametrize("turns", range(12))
async def test_whoever_leaves_whenever_the_others_are_served(turns: int) -> None:
    """Those in the same call ask again; those that wait are carried by another."""
    for leaving in range(6):
        leader = Leader()
        asking = []
        for name in "abcdef":
            asking += leader.ask(name)
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        asking[leaving].cancel()
        granted = 0
        await settle()
        while not all(one.done() for one in asking):
            assert granted < len(leader.calls), "nobody carries what waits"
            if not leader.calls[granted][1].done():
                leader.grant(granted)
            granted += 1
            await settle()
        await asyncio.wait(asking)
        for place, one in enumerate(asking):
            assert one.cancelled() == (place == leaving)
            if place != leaving and (failed := one.exception()) is not None:
                assert isinstance(failed, RpcError)
        last = leader.ask("g")
        await settle()
        leader.grant(-1)
        assert (await last[0]).id == "g"


async def test_a_bundle_is_no_larger_than_a_message_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES", 2 * len(msgspec.msgpack.encode(RemoveNode(id="a"))))
    leader = Leader()
    asking = leader.ask("a", "b", "c", "d" * 100, "e")
    for number in range(4):
        await settle()
        if number < len(leader.calls):
            leader.grant(number)
    await asyncio.gather(*asking)
    assert leader.asked == [["a", "b"], ["c"], ["d" * 100], ["e"]]
