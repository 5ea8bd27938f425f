"""A node calls where it is told to, once, and opens the door to its own tasks' containers only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.aio.clock import ManualClock
from cluster.aio.conversation_pair import End, pair
from cluster.aio.supervise import background
from cluster.api.assignment import Piece, ReachOrder
from cluster.api.errors import Unavailable
from worker.conversations import MOST_CONVERSATIONS, Conversations


class Line:
    """A call to a manager."""

    def __init__(self, addr: str) -> None:
        self.addr = addr
        self.sent: list[Piece] = []
        self.is_over = False
        self._coming: asyncio.Queue[Piece | None] = asyncio.Queue()

    async def send(self, piece: Piece) -> None:
        self.sent.append(piece)

    async def finish(self) -> None:
        self.hang_up()

    def say(self, piece: Piece) -> None:
        self._coming.put_nowait(piece)

    def hang_up(self) -> None:
        self._coming.put_nowait(None)

    async def received(self) -> AsyncIterator[Piece]:
        while (piece := await self._coming.get()) is not None:
            yield piece


class House:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.visits: list[tuple[str, End]] = []
        self.clock = ManualClock()
        self.conversations = Conversations(container_of={"t1": "c1"}.get, door=self.door, call=self.call, clock=self.clock)

    @asynccontextmanager
    async def door(self, container_id: str) -> AsyncIterator[End]:
        outside, inside = pair()
        self.visits.append((container_id, inside))
        try:
            yield outside
        finally:
            outside.close()

    @asynccontextmanager
    async def call(self, addr: str) -> AsyncIterator[Line]:
        if addr == "nowhere":
            raise Unavailable("manager nowhere cannot be reached")
        line = Line(addr)
        self.lines.append(line)
        try:
            yield line
        finally:
            line.is_over = True

    async def order(self, stream: str, task_id: str = "t1", addr: str = "m1") -> None:
        self.conversations.order(ReachOrder(stream=stream, addr=addr, task_id=task_id))
        await self.clock.advance(0)


async def test_the_manager_that_asked_is_called_and_speaks_through_the_door() -> None:
    house = House()
    async with background(house.conversations.run):
        await house.order("x1")
        await house.order("x1")
        [line], [(container, engine)] = house.lines, house.visits
        assert (line.addr, container) == ("m1", "c1")
        assert line.sent == [Piece(stream="x1")], "which conversation it is, before anything is said"
        line.say(Piece(content=b"a question"))
        assert await engine.read() == b"a question"
        await engine.send(b"an answer")
        await house.clock.advance(0)
        assert line.sent[1:] == [Piece(credit=10), Piece(content=b"an answer")]
        line.hang_up()
        assert await engine.read() == b""
        await house.clock.advance(0)
        assert line.is_over


async def test_a_task_that_is_not_here_opens_the_door_to_nothing() -> None:
    house = House()
    async with background(house.conversations.run):
        await house.order("x1", task_id="foreign")
        assert [container for container, _ in house.visits] == [""]


async def test_a_manager_out_of_reach_costs_only_its_own_conversation() -> None:
    house = House()
    async with background(house.conversations.run):
        await house.order("x1", addr="nowhere")
        await house.order("x2")
        assert [line.addr for line in house.lines] == ["m1"]


async def test_too_many_are_refused_with_the_reason() -> None:
    house = House()
    async with background(house.conversations.run):
        for number in range(MOST_CONVERSATIONS + 1):
            await house.order(f"x{number}")
        assert len(house.visits) == MOST_CONVERSATIONS
        assert house.lines[-1].sent == [Piece(stream=f"x{MOST_CONVERSATIONS}", error="256 conversations are open there: end one of them")]
        house.lines[0].hang_up()
        await house.clock.advance(0)
        await house.order("again")
        assert len(house.visits) == MOST_CONVERSATIONS + 1
