"""The keys of encrypted networks: drawn with the first such network, changed while there is one, each kept until nobody needs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.changes import Put, Remove
from cluster.api.objects import Cluster, Network
from cluster.api.specs import NetworkSpec
from cluster.api.states import Kind
from manager.data_keys import DataKeyKeeper, seconds_left
from manager.store.memory import MemoryProposer
from manager.store.store import Store

PERIOD = 100.0
SECRET = Put(object=Network(id="secret", spec=NetworkSpec(name="secret", options={"encrypted": ""})))
PLAIN = Put(object=Network(id="plain", spec=NetworkSpec(name="plain", options={"encrypted": "false"})))


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.proposer = MemoryProposer(self.store, self.clock)
        self._drawn = count(1)

    def keeper(self) -> DataKeyKeeper:
        draw = lambda: bytes([next(self._drawn)]) * 32  # noqa: E731
        return DataKeyKeeper(self.store, self.proposer, self.clock, draw=draw, period=PERIOD)

    @property
    def ids(self) -> list[int]:
        cluster = self.store.snapshot.cluster
        return [] if cluster is None else [key.id for key in cluster.data_keys]


@asynccontextmanager
async def led(rig: Rig) -> AsyncIterator[Rig]:
    async with background(rig.keeper().run):
        await rig.clock.advance(0)
        yield rig


async def founded() -> Rig:
    rig = Rig()
    await rig.proposer.propose([Put(object=Cluster(id="c")), PLAIN])
    return rig


async def test_no_key_is_drawn_before_a_network_needs_one() -> None:
    async with led(await founded()) as rig:
        await rig.clock.advance(3 * PERIOD)
        assert rig.ids == []
        await rig.proposer.propose([SECRET])
        await rig.clock.advance(0)
        assert rig.ids == [1, 2], "one to seal with, and the next one"


async def test_a_rotation_adds_the_next_key_and_forgets_the_one_before_the_former() -> None:
    async with led(await founded()) as rig:
        await rig.proposer.propose([SECRET])
        seen = []
        for _ in range(4):
            await rig.clock.advance(0)
            seen.append(rig.ids)
            await rig.clock.advance(PERIOD - 1)
            assert rig.ids == seen[-1]
            await rig.clock.advance(1)
        assert seen == [[1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
        cluster = rig.store.snapshot.cluster
        assert cluster is not None
        assert len({key.key for key in cluster.data_keys}) == 3


async def test_the_next_leader_goes_on_where_the_one_before_was() -> None:
    rig = await founded()
    async with led(rig):
        await rig.proposer.propose([SECRET])
        await rig.clock.advance(60)
    async with led(rig):
        await rig.clock.advance(39)
        assert rig.ids == [1, 2]
        await rig.clock.advance(1)
        assert rig.ids == [1, 2, 3]


async def test_a_wall_clock_that_jumped_costs_a_period_at_the_most() -> None:
    rig = await founded()
    async with led(rig):
        await rig.proposer.propose([SECRET])
        await rig.clock.advance(0)
    now = rig.store.snapshot
    assert seconds_left(now, at=rig.clock.wall() - 10**15, period=PERIOD) == PERIOD
    assert seconds_left(now, at=rig.clock.wall() + 10**15, period=PERIOD) == 0


async def test_keys_rest_while_no_network_needs_them() -> None:
    async with led(await founded()) as rig:
        await rig.proposer.propose([SECRET])
        await rig.clock.advance(0)
        await rig.proposer.propose([Remove(kind=Kind.NETWORK, id="secret")])
        await rig.clock.advance(5 * PERIOD)
        assert rig.ids == [1, 2]
        await rig.proposer.propose([SECRET])
        await rig.clock.advance(PERIOD)
        assert rig.ids == [1, 2, 3]
