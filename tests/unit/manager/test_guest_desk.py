"""A container that joins a network which was made a moment ago waits for its subnet, and not for ever."""

import asyncio

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.api.changes import ChangeSet, Put
from cluster.api.contracts import AttachRequest, Caller
from cluster.api.errors import FailedPrecondition
from cluster.api.objects import Network
from cluster.api.specs import NetworkSpec
from cluster.api.states import Role
from manager.controlapi.control import Control
from manager.guests import EQUIPPED_WITHIN, GuestDesk
from manager.store.apply import apply
from manager.store.memory import MemoryProposer
from manager.store.snapshot import EMPTY_SNAPSHOT
from manager.store.store import Store

ME = Caller(node_id="n1", role=Role.WORKER)
ASKED = AttachRequest(id="g1", network="front", name="one")
FRESH = Network(id="front1", spec=NetworkSpec(name="front", attachable=True))


async def test_it_joins_as_soon_as_the_allocator_came_round() -> None:
    desk, proposer, clock = at_desk()
    async with asyncio.TaskGroup() as group:
        joining = group.create_task(desk.attach(ME, ASKED))
        await clock.advance(EQUIPPED_WITHIN / 2)
        assert not joining.done()
        await proposer.propose([Put(object=replace(FRESH, subnet="10.0.1.0/24", gateway="10.0.1.1/24", vni=4097), base=1)])
    assert (await joining).guest.address == "10.0.1.254"


async def test_a_network_that_gets_no_subnet_is_refused_with_the_reason() -> None:
    desk, proposer, clock = at_desk()
    async with asyncio.TaskGroup() as group:
        joining = group.create_task(refused(desk))
        await clock.advance(EQUIPPED_WITHIN)
    assert await joining == "network front has no subnet: it was not given one yet"
    await proposer.propose([Put(object=replace(FRESH, pending_reason="the pool is empty"), base=1)])
    assert await refused(desk) == "network front has no subnet: the pool is empty"


async def refused(desk: GuestDesk) -> str:
    with pytest.raises(FailedPrecondition) as error:
        await desk.attach(ME, ASKED)
    return str(error.value)


def at_desk() -> tuple[GuestDesk, MemoryProposer, ManualClock]:
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=(Put(object=FRESH),)))
    assert refusal is None
    store, clock = Store(now), ManualClock()
    proposer = MemoryProposer(store, clock)
    return GuestDesk(control=Control(store=store, proposer=proposer), store=store, clock=clock), proposer, clock
