"""A client reaches the node of a task, and nobody else: no call is taken that was not asked for, and none is waited for without end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.conversation_pair import pair
from cluster.api.assignment import Piece, ReachOrder
from cluster.api.changes import Change, ChangeSet, Put
from cluster.api.contracts import Caller, Taken
from cluster.api.errors import FailedPrecondition, Forbidden, NoLeader, NotFound, ShoalError, Unavailable
from cluster.api.features import CONVERSATIONS
from cluster.api.objects import Cluster, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import ServiceSpec
from cluster.api.states import NodeState, Role, TaskState
from manager.store.apply import apply
from manager.store.memory import MemoryProposer
from manager.store.snapshot import EMPTY_SNAPSHOT
from manager.store.store import Store
from manager.switchboard import ANSWER_WITHIN, ASK_AGAIN, MOST_CALLS, Call, Switchboard

LEVEL = CONVERSATIONS.level
NODE = Node(id="n1", status=NodeStatus(state=NodeState.READY), description=NodeDescription(hostname="w1", feature_level=LEVEL))
SERVICE = Service(id="s1", spec=ServiceSpec(name="web"))
TASK = Task(id="t1", service_id="s1", template_version=1, slot=1, node_id="n1", status=TaskStatus(state=TaskState.RUNNING))


class Room:
    """A manager with one node, which calls when it is told to."""

    def __init__(self, *changes: Change, level: int = LEVEL) -> None:
        swarm = Put(object=Cluster(id="c", feature_level=level))
        known = [Put(object=one) for one in (SERVICE, NODE, TASK)]
        now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=(swarm, *known, *changes)))
        assert refusal is None, refusal
        self.store, self.clock = Store(now), ManualClock()
        self.proposer = MemoryProposer(self.store, self.clock)
        self.orders: list[ReachOrder] = []
        self.no_leader = False
        self.drawn = 0
        self.party, self.here = pair()
        self.board = Switchboard(
            store=self.store,
            order=self.order,
            clock=self.clock,
            draw_id=self.draw,
            me=Caller(node_id="m1", role=Role.MANAGER),
            addr=lambda: "m1:2377",
        )

    def draw(self) -> str:
        self.drawn += 1
        return f"x{self.drawn}"

    async def order(self, _: Caller, order: ReachOrder) -> Taken:
        if self.no_leader:
            raise NoLeader
        self.orders.append(order)
        return Taken()

    async def begin(self) -> "asyncio.Future[Call]":
        connecting = asyncio.ensure_future(self.board.connect("t1", self.here))
        await self.clock.advance(0)
        return connecting

    def call(self, *pieces: Piece, node_id: str = "n1", hold: bool = True) -> AsyncIterator[Piece]:
        async def requests() -> AsyncIterator[Piece]:
            for piece in pieces:
                yield piece
            if hold:
                await asyncio.Event().wait()

        return self.board.converse(Caller(node_id=node_id, role=Role.WORKER), requests())


async def refusal(of: AsyncIterator[Piece]) -> ShoalError:
    with pytest.raises(ShoalError) as refused:
        await anext(of)
    return refused.value


async def test_a_client_speaks_with_the_node_that_was_told_to_call() -> None:
    room = Room()
    connecting = await room.begin()
    assert room.orders == [ReachOrder(stream="x1", addr="m1:2377", task_id="t1")]
    answers = room.call(Piece(stream="x1"), Piece(content=b"from the node"), Piece(end=True))
    await room.party.send(b"from the client")
    room.party.write_eof()
    pieces = [piece async for piece in answers]
    assert b"".join(piece.content for piece in pieces) == b"from the client"
    assert sum(piece.credit for piece in pieces) == len(b"from the node")
    assert (await connecting).failure == ""
    assert await room.party.read() == b"from the node"
    assert await room.party.read() == b""


async def test_no_call_is_taken_that_was_not_asked_for() -> None:
    room = Room()
    connecting = await room.begin()
    assert isinstance(await refusal(room.call(Piece(stream="x2"))), NotFound)
    assert isinstance(await refusal(room.call(Piece(stream="x1"), node_id="n2")), Forbidden)
    assert isinstance(await refusal(room.call(hold=False)), NotFound)
    answers = room.call(Piece(stream="x1"), Piece(content=b"hi"))
    assert (await anext(answers)).credit == 2
    await connecting
    assert isinstance(await refusal(room.call(Piece(stream="x1"))), NotFound), "one call for each order"


async def test_an_order_is_given_again_and_not_for_ever() -> None:
    room = Room()
    connecting = await room.begin()
    await room.clock.advance(ASK_AGAIN)
    assert len(room.orders) == 2
    room.no_leader = True
    await room.clock.advance(ANSWER_WITHIN)
    with pytest.raises(Unavailable, match=r"node w1 did not answer within 5 s \(.*does not have a leader"):
        await connecting
    assert isinstance(await refusal(room.call(Piece(stream="x1"))), NotFound), "who calls late is told that nobody waits"


async def test_what_the_node_refuses_is_told_with_its_name() -> None:
    room = Room()
    connecting = await room.begin()
    assert [piece async for piece in room.call(Piece(stream="x1", error="256 conversations are open there"), hold=False)] == []
    with pytest.raises(Unavailable, match="node w1: 256 conversations are open there"):
        await connecting


@pytest.mark.parametrize("begun", [True, False])
async def test_a_node_that_goes_down_ends_what_was_begun_and_what_was_not(begun: bool) -> None:
    room = Room()
    connecting = await room.begin()
    taking = asyncio.ensure_future(anext(room.call(Piece(stream="x1")), None)) if begun else None
    if begun:
        await connecting
    await room.proposer.propose([Put(object=replace(NODE, status=NodeStatus(state=NodeState.DOWN)), base=1)])
    if taking is not None:
        assert await asyncio.wait_for(taking, 5) is None
        assert (await connecting).failure == "node w1 broke off: what was begun there may go on"
        assert await room.party.read() == b""
    else:
        with pytest.raises(Unavailable, match="node w1 is down"):
            await connecting
    with pytest.raises(Unavailable, match="node w1 is down, with the container of task t1: try again once it is back"):
        await room.board.connect("t1", room.here)


async def test_a_node_that_breaks_off_is_named() -> None:
    room = Room()
    connecting = await room.begin()
    assert [piece async for piece in room.call(Piece(stream="x1"), Piece(content=b"half"), hold=False)] != []
    assert (await connecting).failure == "node w1 broke off: what was begun there may go on"


async def test_versions_that_cannot_do_it_are_named_and_not_asked() -> None:
    old = replace(NODE, description=replace(NODE.description, feature_level=LEVEL - 1))
    room = Room(Put(object=replace(old, id="n2")), Put(object=replace(TASK, id="t2", node_id="n2")))
    with pytest.raises(
        FailedPrecondition, match="node w1 runs a version of feature level 1, and reaching containers on other nodes takes 2: upgrade it"
    ):
        await room.board.connect("t2", room.here)
    assert room.orders == []
    with pytest.raises(FailedPrecondition, match="takes feature level 2 of every manager, and this swarm is at 1: upgrade the managers"):
        await Room(level=LEVEL - 1).board.connect("t1", room.here)


async def test_a_task_that_is_nowhere_has_no_node_to_call() -> None:
    with pytest.raises(NotFound, match="task t9 is on no node"):
        await Room().board.connect("t9", pair()[0])


async def test_the_number_of_conversations_is_bounded_and_comes_down_again() -> None:
    room = Room()
    waiting = [await room.begin() for _ in range(MOST_CALLS)]
    with pytest.raises(Unavailable, match="512 conversations with containers on other nodes are open on this manager: end one"):
        await room.board.connect("t1", room.here)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await room.begin()
