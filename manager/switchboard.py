"""Clients of this manager speak with containers on other nodes. The leader passes the orders on; the bytes never go through it.

`connect` has a task's node called to this manager, `converse` takes its call. No call is taken that was not asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from cluster.aio.clock import Clock
from cluster.aio.conversation import BrokenOff, Conversation, relay
from cluster.aio.supervise import first_of
from cluster.api.assignment import Piece, ReachOrder
from cluster.api.contracts import Caller, Taken
from cluster.api.errors import FailedPrecondition, Forbidden, NotFound, ShoalError, TooLarge, Unavailable
from cluster.api.features import CONVERSATIONS
from cluster.api.ids import DrawId, Id
from cluster.api.states import NodeState
from manager.store.snapshot import Snapshot
from manager.store.store import Store

ANSWER_WITHIN = 5.0
"""Seconds that a node has to call."""
ASK_AGAIN = 1.0
"""Seconds after which an order without an answer is given again: the node may have had no session just then."""
MOST_CALLS = 512
"""At a time, on one manager."""

Order = Callable[[Caller, ReachOrder], Awaitable[Taken]]
"""Have the leader pass an order down a session."""


class Call:
    """One conversation with a task's node. `refusal`: why there is none. `failure`: why it ended before both had said everything."""

    def __init__(self, node_id: Id, here: Conversation) -> None:
        self.node_id = node_id
        self.here = here
        self.answered = asyncio.Event()
        self.refusal = ""
        self.failure = ""


class Switchboard:
    """Implements contracts.Conversations on every manager. `me`: this manager, as who it asks the leader; `addr`: where nodes reach it."""

    def __init__(self, *, store: Store, order: Order, clock: Clock, draw_id: DrawId, me: Caller, addr: Callable[[], str]) -> None:
        self._store = store
        self._order = order
        self._clock = clock
        self._draw_id = draw_id
        self._me = me
        self._addr = addr
        self._calls: dict[Id, Call] = {}

    # -- for the client ----------------------------------------------------------------------------------------------------------------
    async def connect(self, task_id: Id, here: Conversation) -> Call:
        """Have `here` speak with the Engine API of the task's node, about its container alone. From then on `here` is closed by us.

        Raises NotFound, FailedPrecondition for a version that cannot, Unavailable for a node that is down or does not call in time.
        """
        if len(self._calls) >= MOST_CALLS:
            raise Unavailable(f"{MOST_CALLS} conversations with containers on other nodes are open on this manager: end one of them first")
        stream, node_id = self._draw_id(), node_to_call(self._store.snapshot, task_id)
        call = self._calls[stream] = Call(node_id, here)
        try:
            order = ReachOrder(stream=stream, addr=self._addr(), task_id=task_id)
            await first_of(call.answered.wait, lambda: self._ask(order), lambda: self._wait_lost(node_id))
        except BaseException:
            self._calls.pop(stream, None)
            raise
        if call.refusal:
            raise Unavailable(f"node {called(self._store.snapshot, node_id)}: {call.refusal}")
        return call

    async def _ask(self, order: ReachOrder) -> None:
        """Until the time is over. Raises Unavailable then."""
        why = ""
        with suppress(TimeoutError):
            async with self._clock.limit(ANSWER_WITHIN):
                while True:
                    try:
                        await self._order(self._me, order)
                    except Unavailable as not_now:
                        why = f" ({not_now})"
                    await self._clock.sleep(ASK_AGAIN)
        node_id = self._calls[order.stream].node_id
        raise Unavailable(f"node {called(self._store.snapshot, node_id)} did not answer within {ANSWER_WITHIN:g} s{why}: try again")

    async def _wait_lost(self, node_id: Id) -> None:
        """Raises BrokenOff once the node is down, or no member any more."""
        async for now in self._store.snapshots():
            if is_lost(now, node_id):
                raise BrokenOff(f"node {called(now, node_id)} is down")

    # -- contracts.Conversations -------------------------------------------------------------------------------------------------------
    async def reach(self, caller: Caller, request: ReachOrder) -> Taken:
        return await self._order(caller, request)

    async def converse(self, caller: Caller, requests: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        """A node's call: its first piece says for which order."""
        first = await anext(requests, None)
        call = None if first is None else self._calls.get(first.stream)
        if first is None or call is None or call.answered.is_set():
            raise NotFound("nobody waits for this conversation (any more)")
        if call.node_id != caller.node_id:
            raise Forbidden(f"node {caller.node_id} was not asked for this conversation")
        call.refusal = first.error
        call.answered.set()
        try:
            if not call.refusal:
                async for piece in self._pieces(call, requests):
                    yield piece
        finally:
            call.here.close()
            self._calls.pop(first.stream, None)

    async def _pieces(self, call: Call, requests: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        waiting: asyncio.Queue[Piece | None] = asyncio.Queue()  # bounded by the node's credit
        talking = asyncio.ensure_future(self._talk(call, requests, waiting))
        try:
            while (piece := await waiting.get()) is not None:
                yield piece
        finally:
            talking.cancel()
            await asyncio.wait([talking])

    async def _talk(self, call: Call, requests: AsyncIterator[Piece], waiting: "asyncio.Queue[Piece | None]") -> None:
        node = called(self._store.snapshot, call.node_id)
        call.failure = f"node {node} broke off: what was begun there may go on"

        async def send(piece: Piece) -> None:
            waiting.put_nowait(piece)

        async def talk() -> None:
            await relay(call.here, send=send, received=requests, finish=_at_once, clock=self._clock)

        try:
            await first_of(talk, lambda: self._wait_lost(call.node_id))
            call.failure = ""
        except TooLarge as greedy:
            call.failure = f"node {node}: {greedy}"
        except ShoalError:
            pass  # the failure is said already
        finally:
            waiting.put_nowait(None)


async def _at_once() -> None:
    return


def node_to_call(now: Snapshot, task_id: Id) -> Id:
    """Where a task is. Raises what keeps that node from being reached. Pure."""
    task = now.tasks.get(task_id)
    if task is None or not task.node_id:
        raise NotFound(f"task {task_id} is on no node")
    if now.feature_level < CONVERSATIONS.level:
        raise FailedPrecondition(
            f"{CONVERSATIONS.name} takes feature level {CONVERSATIONS.level} of every manager, and this swarm is at {now.feature_level}: "
            "upgrade the managers, then try again"
        )
    node = now.nodes.get(task.node_id)
    if node is None or is_lost(now, task.node_id):
        raise Unavailable(f"node {called(now, task.node_id)} is down, with the container of task {task_id}: try again once it is back")
    if node.description.feature_level < CONVERSATIONS.level:
        level = node.description.feature_level
        raise FailedPrecondition(
            f"node {called(now, node.id)} runs a version of feature level {level}, and {CONVERSATIONS.name} takes {CONVERSATIONS.level}: "
            "upgrade it, or use its own engine"
        )
    return node.id


def is_lost(now: Snapshot, node_id: Id) -> bool:
    node = now.nodes.get(node_id)
    return node is None or node.status.state is NodeState.DOWN


def called(now: Snapshot, node_id: Id) -> str:
    """A node as people know it."""
    node = now.nodes.get(node_id)
    return node_id if node is None else node.description.hostname or node_id
