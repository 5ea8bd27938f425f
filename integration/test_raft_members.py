"""Members as processes with real disks and real streams: killed, stopped and joined, they lose nothing that was acknowledged."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from integration.raft_rig import MemberGroup, Refused, members

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=["grpc", "unix"])
async def three(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemberGroup]:
    async with members(tmp_path, link=request.param, count=3, snapshot_entries=300) as group:
        yield group


async def test_all_replicas_are_equal_after_writes_from_many(three: MemberGroup) -> None:
    leader = await three.leader()
    acknowledged = await leader.tell("write", writers=8, seconds=1.5, prefix="a")
    assert len(acknowledged) > 100
    await three.until(lambda statuses: len({status["digest"] for status in statuses}) == 1)
    for member in three.members:
        await member.tell("read")
        assert await member.tell("missing", keys=acknowledged) == []


async def test_a_killed_leader_is_replaced_and_comes_back(three: MemberGroup) -> None:
    old = await three.leader()
    await old.tell("propose", payload="00000001before")
    await old.kill()
    began = time.monotonic()
    new = await three.leader()
    await new.tell("propose", payload="00000002after")
    assert time.monotonic() - began < 5.0  # generous: the machine is shared
    await old.start()
    await three.until(lambda statuses: len(statuses) == 3 and len({status["digest"] for status in statuses}) == 1)
    assert await old.tell("get", key="00000002") == "after"


async def test_a_new_member_gets_a_snapshot_and_votes(three: MemberGroup) -> None:
    leader = await three.leader()
    await leader.tell("load", proposers=32, seconds=1, size=200)
    assert (await leader.tell("status"))["snapshot_index"] > 300
    joiner = three.joiner()
    await joiner.start()
    await leader.tell("add", member=joiner.id, address=joiner.file.address)
    await three.until(lambda statuses: all([m["standing"] for m in s["members"]] == ["voter"] * 4 for s in statuses))
    await three.until(lambda statuses: len({status["digest"] for status in statuses}) == 1)
    assert (await joiner.tell("status"))["snapshot_index"] > 300


async def test_leadership_is_handed_over_without_a_pause(three: MemberGroup) -> None:
    old = await three.leader()
    began = time.monotonic()
    assert await old.tell("transfer")
    new = await three.leader()
    await new.tell("propose", payload="00000001x")
    assert new is not old
    assert time.monotonic() - began < 2.0


async def test_a_stopped_leader_finds_itself_replaced_when_it_goes_on(three: MemberGroup) -> None:
    old = await three.leader()
    old.signal(signal.SIGSTOP)
    try:
        others = [member for member in three.members if member is not old]
        async with asyncio.timeout(10):
            while not any([(await member.tell("status"))["established"] for member in others]):
                await asyncio.sleep(0.05)
    finally:
        old.signal(signal.SIGCONT)
    with pytest.raises(Refused) as refused:
        await old.tell("write_until_refused")
    assert refused.value.kind in ("NotLeader", "ProposalLost")


async def test_nothing_acknowledged_is_lost_in_rounds_of_kills(tmp_path: Path) -> None:
    await rounds_of_kills(tmp_path, rounds=5)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_in_many_rounds_of_kills(tmp_path: Path) -> None:
    await rounds_of_kills(tmp_path, rounds=30)


async def rounds_of_kills(folder: Path, *, rounds: int) -> None:
    """In each, eight writers write while one or all members are killed or paused; then everything acknowledged must be everywhere."""
    rng = Random(11)
    async with members(folder, link="grpc", count=3, snapshot_entries=500) as group:
        acknowledged: list[str] = []
        for number in range(rounds):
            leader = await group.leader()
            writing = [
                asyncio.ensure_future(member.tell("write", writers=8, seconds=2.0, prefix=f"{number:02d}{place}"))
                for place, member in enumerate(group.members)
            ]
            await asyncio.sleep(rng.uniform(0.3, 1.0))
            victims = rng.choice(([leader], [rng.choice(group.members)], group.members))
            is_pause = rng.random() < 0.3
            for victim in victims:
                if is_pause:
                    victim.signal(signal.SIGSTOP)
                else:
                    await victim.kill()
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            for victim in victims:
                if is_pause:
                    victim.signal(signal.SIGCONT)
                else:
                    await victim.start()
            for answer in await asyncio.gather(*writing, return_exceptions=True):
                if isinstance(answer, list):
                    acknowledged += answer
        await group.leader()
        await group.until(lambda statuses: len(statuses) == 3 and len({status["digest"] for status in statuses}) == 1)
        assert len(acknowledged) > 50 * rounds
        for member in group.members:
            assert await member.tell("missing", keys=acknowledged) == []
