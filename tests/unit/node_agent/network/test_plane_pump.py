"""What two connections say to each other is carried whole, in order, to its end; and what breaks one breaks the other."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.network.pump import carry, reset_on_close

RESET = struct.pack("ii", 1, 0)


def connected() -> tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection, the second as it was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    for one in (client, accepted):
        one.setblocking(False)
    return client, accepted


class Line:
    """A client, a task, and what carries between them."""

    def __init__(self) -> None:
        self.client, self.near = connected()
        self.far, self.task = connected()
        self.carrying = asyncio.get_running_loop().create_task(carry(self.near, self.far))

    async def say(self, by: socket.socket, what: bytes, *, end: bool = True) -> None:
        await asyncio.get_running_loop().sock_sendall(by, what)
        if end:
            by.shutdown(socket.SHUT_WR)

    async def hear(self, by: socket.socket) -> bytes:
        heard = b""
        while more := await asyncio.get_running_loop().sock_recv(by, 1 << 20):
            heard += more
        return heard

    def close(self) -> None:
        self.carrying.cancel()
        for one in (self.client, self.near, self.far, self.task):
            one.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    yield made
    made.close()


async def both_ways(line: Line, request: bytes, answer: bytes) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(line.say(line.client, request))
        group.create_task(line.say(line.task, answer))
        asked = group.create_task(line.hear(line.task))
        answered = group.create_task(line.hear(line.client))
    assert asked.result() == request
    assert answered.result() == answer
    await line.carrying


async def test_bulk_both_ways_through_readers_that_are_slower_than_writers(line: Line) -> None:
    await both_ways(line, bytes(range(256)) * 40_000, b"answer" * 700_000)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 200_000), max_size=4), st.lists(st.integers(1, 200_000), max_size=4))
def test_pieces_of_any_size_arrive_whole_and_in_order(asked: list[int], answered: list[int]) -> None:
    async def once() -> None:
        line = Line()
        try:
            request, answer = (b"".join(bytes([65 + n % 26]) * size for n, size in enumerate(sizes)) for sizes in (asked, answered))
            await both_ways(line, request, answer)
        finally:
            line.close()

    asyncio.run(once())


async def test_one_that_has_said_all_still_hears(line: Line) -> None:
    await line.say(line.client, b"question")
    async with asyncio.timeout(5):
        assert await line.hear(line.task) == b"question"
        assert not line.carrying.done()
        await line.say(line.task, b"answer")
        assert await line.hear(line.client) == b"answer"
        await line.carrying


async def test_a_reset_of_one_is_a_reset_of_the_other(line: Line) -> None:
    await line.say(line.client, b"question", end=False)
    async with asyncio.timeout(5):
        await asyncio.get_running_loop().sock_recv(line.task, 100)
        line.task.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        line.task.close()
        with pytest.raises(ConnectionResetError):
            await line.carrying
        reset_on_close(line.near, line.far)
        line.near.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(line.client, 100)
