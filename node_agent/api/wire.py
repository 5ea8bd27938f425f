"""One byte stream, under everything the API says: flow control both ways, half-close, and whether the other side is still there.

An `asyncio.Protocol` of our own, since the ends of a hijacked connection matter: each direction ends by itself (`echo x | docker
run -i` closes only its own), TLS included, which asyncio's TLS transport cannot do; and a peer that has vanished must be told
from one that has merely finished sending, even while we read nothing from it. On a unix socket the kernel knows the
difference (EPOLLHUP against EPOLLRDHUP); `Hangups` asks it.
"""

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Callable
from typing import Protocol, cast

log = logging.getLogger("shoal.api")

CHUNK = 256 * 1024  # unread bytes at which reading pauses: also all that a relay ever holds of a body


class Secure(Protocol):
    """What a wire needs of TLS; see `tls.TlsCodec`."""

    def receive(self, ciphertext: bytes) -> bytes: ...
    def send(self, plaintext: bytes) -> bytes: ...
    def finish(self) -> bytes: ...
    def owed(self) -> bytes: ...
    @property
    def finished(self) -> bool: ...


class Gone(ConnectionError):
    """The other side of a wire is not there any more."""


class Hangups:
    """Tells of unix-socket peers that closed altogether, whether or not anybody reads: an epoll of its own, asked for nothing.

    EPOLLHUP is reported unasked, so an interest in no event at all wakes for nothing else.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._fired)

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        self.forget(fd)
        self._epoll.register(fd, 0)
        self._watched[fd] = call

    def forget(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # already closed: the kernel forgot it by itself
                self._epoll.unregister(fd)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _fired(self) -> None:
        for fd, _ in self._epoll.poll(0):
            call = self._watched.get(fd)
            self.forget(fd)
            if call is not None:
                call()


class Wire(asyncio.Protocol):
    """Bytes in (`buffer`, `fill`, `read`), bytes out (`write`, `drain`), and the three ways to end: `write_eof`, `close`, `abort`."""

    def __init__(self, hangups: Hangups, *, made: "Callable[[Wire], None] | None" = None, tls: Secure | None = None) -> None:
        self.buffer = bytearray()
        self.eof = False  # the other side sends nothing more
        self.gone = False  # the other side is not there any more
        self.half_close = True  # may the other side end its direction and still listen? Else its end means that it left
        self.is_unix = False
        self._hangups, self._made, self._tls = hangups, made, tls
        self._fd = -1
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._finished = False
        self._on_gone: Callable[[], None] | None = None
        self._transport = cast("asyncio.Transport", None)

    # -- called by asyncio ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        self._fd, self.is_unix = sock.fileno(), sock.family == socket.AF_UNIX
        if self._tls is not None:
            self._transport.write(self._tls.owed())
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            try:
                data = self._tls.receive(data)
            except OSError as refused:  # ssl.SSLError is one: no certificate, a foreign one, not TLS at all
                log.debug("a TLS peer was refused: %s", refused)
                self._transport.write(self._tls.owed())
                self.close()
                return
            self._transport.write(self._tls.owed())
        self.buffer += data
        if self._tls is not None and self._tls.finished:
            self._ended()
            return
        if len(self.buffer) >= CHUNK and not self._paused:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> bool:
        self._ended()
        return not self.gone  # keep our direction open

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.eof = True
        self._vanished()

    # -- reading -----------------------------------------------------------------------------------------------------------

    async def fill(self) -> bool:
        """Wait until `buffer` holds more than now; False when nothing more will come."""
        if self.eof:
            return False
        had = len(self.buffer)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        while len(self.buffer) == had and not self.eof:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return len(self.buffer) > had

    async def read(self) -> bytes:
        """Whatever has arrived, at least a byte; empty when the other side has ended its direction."""
        if not self.buffer:
            await self.fill()
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    # -- writing -----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.gone or self._finished:
            raise Gone
        self._transport.write(data if self._tls is None else self._tls.send(data))

    async def drain(self) -> None:
        """Wait while more is on its way than the other side takes."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self.gone:
            raise Gone

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other side is slow."""
        self.write(data)
        await self.drain()

    def write_eof(self) -> None:
        """End our direction; the other one stays."""
        if self.gone or self._finished:
            return
        self._finished = True
        if self._tls is not None:
            self._transport.write(self._tls.finish())
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    # -- ending ------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End both directions once everything written is on its way."""
        self._forget()
        if self._tls is not None and not self._finished and not self.gone:
            self._transport.write(self._tls.finish())
        self._finished = True
        self._transport.close()

    def abort(self) -> None:
        """End both directions now."""
        self._forget()
        self._transport.abort()

    def on_gone(self, call: Callable[[], None] | None) -> None:
        """Have `call` made once when the other side leaves (at once if it has); None takes that back.

        Asked for only where it matters, since it costs the kernel two calls.
        """
        self._on_gone = call
        if call is None:
            self._forget()
        elif self.gone or (self.eof and not self.half_close and not self.is_unix):
            self._vanished()
        elif self.is_unix:
            self._hangups.watch(self._fd, self._vanished)

    @property
    def sock(self) -> socket.socket:
        return cast("socket.socket", self._transport.get_extra_info("socket"))

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        self.eof = True
        self._wake()
        # Over TCP a peer that closed looks like one that ended its direction; only a stream that may be half-closed trusts it.
        if not self.half_close and not self.is_unix and self._on_gone is not None:
            self._vanished()

    def _vanished(self) -> None:
        self.gone = True
        self._forget()
        self._wake()
        self._writable.set()
        call, self._on_gone = self._on_gone, None
        if call is not None:
            call()

    def _forget(self) -> None:
        if self.is_unix:
            self._hangups.forget(self._fd)

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
