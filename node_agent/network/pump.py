"""Carries what two connected sockets say to each other, both ways, without blocking.

Little things are copied: one read, one write. A direction whose reads fill the buffer goes on by splice(2), so that bulk never comes into
this process.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable

_CHUNK = 64 * 1024
_PIPE = 1024 * 1024
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def carry(one: socket.socket, other: socket.socket) -> None:
    """Until both have said all; each end is passed on. Raises OSError when one breaks. Closes neither."""
    over = asyncio.get_running_loop().create_future()
    ways: list[_Way] = []

    def ended(broken: OSError | None) -> None:
        if over.done():
            return
        if broken is not None:
            over.set_exception(broken)
        elif all(way.has_ended for way in ways):
            over.set_result(None)

    ways += (_Way(one, other, ended), _Way(other, one, ended))
    try:
        await over
    finally:
        for way in ways:
            way.stop()


def reset_on_close(*sockets: socket.socket) -> None:
    """What broke on one side must not look like an orderly end on the other."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class _Way:
    """One direction. It reads only when all that it read has been passed on."""

    def __init__(self, source: socket.socket, target: socket.socket, ended: Callable[[OSError | None], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._target = source, target
        self._tell = ended
        self._copied = memoryview(b"")
        self._pipe: tuple[int, int] | None = None
        self._spliced = 0
        """Bytes in the pipe."""
        self._waits = False
        """For the target to take more."""
        self.has_ended = False
        self._loop.add_reader(source.fileno(), self._act, self._read)

    def stop(self) -> None:
        """Nothing is carried from now on."""
        self._loop.remove_reader(self._source.fileno())
        if self._waits:
            self._loop.remove_writer(self._target.fileno())
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _act(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as broken:
            self._tell(broken)

    def _read(self) -> None:
        if self._pipe is None:
            heard = self._source.recv(_CHUNK)
            self._copied = memoryview(heard)
            if len(heard) == _CHUNK:
                self._pipe = _open_pipe()
        else:
            self._spliced = os.splice(self._source.fileno(), self._pipe[1], _PIPE, flags=_FLAGS)
        if self._copied or self._spliced:
            self._pass_on()
        else:
            self._loop.remove_reader(self._source.fileno())
            self._target.shutdown(socket.SHUT_WR)
            self.has_ended = True
            self._tell(None)

    def _pass_on(self) -> None:
        try:
            while self._copied:
                self._copied = self._copied[self._target.send(self._copied) :]
            while self._spliced and self._pipe is not None:
                self._spliced -= os.splice(self._pipe[0], self._target.fileno(), self._spliced, flags=_FLAGS)
        except BlockingIOError:
            if not self._waits:
                self._waits = True
                self._loop.remove_reader(self._source.fileno())
                self._loop.add_writer(self._target.fileno(), self._act, self._pass_on)
            return
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._target.fileno())
            self._loop.add_reader(self._source.fileno(), self._act, self._read)


def _open_pipe() -> tuple[int, int] | None:
    """None, and copying goes on, when there are no descriptors left."""
    try:
        return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
