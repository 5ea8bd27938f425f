"""The event loop of a process that speaks gRPC: uvloop, and wake-ups that cannot clog.

grpc.aio's poller thread queues each event and writes one byte for it into a socket pair; its reader takes one byte a turn of the loop, and
all that is queued. Some 280 bytes that wait, as after a third of a second's silence with a thousand nodes beating, are more than the pair
holds: from then on the thread blocks, and gets rid of one event a turn. Connections stand and answer pings, but say nothing for a minute.
So the bytes that are too many are taken together with the one.
"""

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple

import uvloop

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class RpcLoop(uvloop.Loop):
    """Counts the wake-ups that it knows: none would mean that gRPC does it in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.wakeups = 0

    def add_reader(self, fd: Any, callback: Callable[[*Arguments], Any], *args: *Arguments) -> None:
        if isinstance(fd, socket.socket) and _is_grpcs(callback):
            self.wakeups += 1
            super().add_reader(fd, functools.partial(_wake, fd, callback), *args)
        else:
            super().add_reader(fd, callback, *args)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=RpcLoop) as runner:
        return runner.run(main)


def _is_grpcs(callback: Callable[..., Any]) -> bool:
    handler = callback.func if isinstance(callback, functools.partial) else callback
    return getattr(handler, "__name__", "") == "_handle_events"


def _wake(pair: socket.socket, handle: Callable[..., Any], *args: Any) -> None:
    with suppress(BlockingIOError):
        if (waiting := len(pair.recv(4096, socket.MSG_PEEK))) > 1:
            pair.recv(waiting - 1)
    handle(*args)
