"""Wake-ups of gRPC's poller: however many bytes wait, one turn of the loop takes them."""

import asyncio
import socket
from functools import partial

import grpc
import pytest

from cluster.rpc.loop import RpcLoop, run


class PollerCompletionQueue:
    """As gRPC's: a byte for each event, and all events at the first."""

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.handled = 0
        self.woken = asyncio.Event()

    def _handle_events(self, loop: asyncio.AbstractEventLoop) -> None:
        assert loop.is_running()
        assert self.reader.recv(1) == b"1"
        self.handled += 1
        self.woken.set()


def test_bytes_that_are_too_many_are_taken_with_the_first() -> None:
    async def wake() -> None:
        queue, loop = PollerCompletionQueue(), asyncio.get_running_loop()
        queue.writer.send(b"1" * 250)
        loop.add_reader(queue.reader, partial(queue._handle_events, loop))
        await queue.woken.wait()
        loop.remove_reader(queue.reader)
        assert queue.handled == 1
        with pytest.raises(BlockingIOError):
            queue.reader.recv(1)
        queue.reader.close()
        queue.writer.close()

    run(wake())


def test_grpc_wakes_the_loop_in_the_way_that_is_known() -> None:
    """If this fails after an upgrade, see whether the poller can still block; if not, the loop of its own is not needed any more."""

    async def known() -> int:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            channel.get_state(try_to_connect=True)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, RpcLoop)
            return loop.wakeups

    assert run(known()) == 1
