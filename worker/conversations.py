"""Clients of managers elsewhere speak with this node's Engine API, each about the container of one task of ours.

The leader only passed the order down; we call the manager that wants to be called. What may be asked is the door's business: it lets
nobody past that task's container.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from cluster.aio.clock import Clock
from cluster.aio.conversation import LAST_WORDS, Conversation, relay
from cluster.api.assignment import Piece, ReachOrder
from cluster.api.errors import ShoalError
from cluster.api.ids import Id
from worker.lines import Line

MOST_CONVERSATIONS = 256
"""At a time, on one node."""
CLOSE_WITHIN = 30.0
"""Seconds that the manager has for what is under way when all is said."""
_log = logging.getLogger(__name__)

ConversationLine = Line[Piece, Piece]
Call = Callable[[str], AbstractAsyncContextManager[ConversationLine]]
"""Call the manager at this address."""
Door = Callable[[str], AbstractAsyncContextManager[Conversation]]
"""Let somebody speak with the Engine API about this container; about an empty one it says that there is none."""


class Conversations:
    """`order` one; `run` is the parent of them all."""

    def __init__(self, *, container_of: Callable[[Id], str | None], door: Door, call: Call, clock: Clock) -> None:
        self._container_of = container_of
        self._door = door
        self._call = call
        self._clock = clock
        self._orders: asyncio.Queue[ReachOrder] = asyncio.Queue()
        self._open: set[Id] = set()

    def order(self, order: ReachOrder) -> None:
        self._orders.put_nowait(order)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                order = await self._orders.get()
                if order.stream not in self._open:  # it is given again until the manager has heard from us
                    self._open.add(order.stream)
                    group.create_task(self._serve(order), name=f"conversation {order.stream}")

    async def _serve(self, order: ReachOrder) -> None:
        try:
            async with self._call(order.addr) as line:
                if len(self._open) > MOST_CONVERSATIONS:
                    await self._refuse(order, line)
                else:
                    await self._converse(order, line)
        except* (ShoalError, OSError) as broken:
            _log.info("conversation %s about task %s: %s", order.stream, order.task_id, broken.exceptions[0])
        finally:
            self._open.discard(order.stream)

    async def _refuse(self, order: ReachOrder, line: ConversationLine) -> None:
        await line.send(Piece(stream=order.stream, error=f"{MOST_CONVERSATIONS} conversations are open there: end one of them"))
        await line.finish()
        async for _ in line.received():
            pass

    async def _converse(self, order: ReachOrder, line: ConversationLine) -> None:
        async def finish() -> None:
            await line.finish()
            await self._clock.sleep(CLOSE_WITHIN)  # the manager ends its side once it has everything

        await line.send(Piece(stream=order.stream))
        async with self._door(self._container_of(order.task_id) or "") as here:
            await relay(here, send=line.send, received=line.received(), finish=finish, clock=self._clock, patience=LAST_WORDS)
