"""One request and its answer on a client's connection: the body as it comes in, the answer as it goes out."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import TracebackType

import msgspec

from cluster.api.errors import TooLarge
from node_agent.api.http import BadMessage, Framing, Length, RequestHead, chunk, reason_of, request_framing, write_head
from node_agent.api.wire import CHUNK, Gone, Wire

LINGER = 2.0  # seconds in which a client whose body we refused may still read why
HIJACKING_ENDS = ("/attach", "/start", "/session", "/grpc")


class while_there:  # noqa: N801  reads as `async with while_there(wire):`, like asyncio.timeout
    """A block that is left with `Gone` as soon as the other side of the wire leaves."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._wire.on_gone(self._leave)

    def _leave(self) -> None:
        self._left = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wire.on_gone(None)
        if self._left and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Gone from error


class WireBody:
    """A request's body on the wire; see `messages.Body`."""

    def __init__(self, wire: Wire, framing: Framing, *, asked_to_continue: bool) -> None:
        self._wire, self._asked_to_continue = wire, asked_to_continue
        self.framing = framing
        self.kept: bytes | None = None  # what `read` read, for whoever passes the request on

    @property
    def done(self) -> bool:
        return self.framing.done

    @property
    def unasked(self) -> bool:
        """Whether the client waits for a 100 that it was not sent: after another status nobody can know if the body follows."""
        return self._asked_to_continue and not self.done

    async def next(self) -> bytes:
        """The next piece; empty when there is no more."""
        wire, framing = self._wire, self.framing
        while not framing.done:
            if data := framing.take(wire.buffer, eof=wire.eof):
                return data
            if framing.done:
                break
            if self._asked_to_continue:
                self._asked_to_continue = False
                wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await wire.fill()
        return b""

    async def stream(self) -> AsyncIterator[bytes]:
        while data := await self.next():
            yield data

    async def read(self, at_most: int) -> bytes:
        if isinstance(self.framing, Length) and self.framing.left > at_most:
            raise TooLarge(_too_large(at_most))
        parts, size = [], 0
        while data := await self.next():
            size += len(data)
            if size > at_most:
                raise TooLarge(_too_large(at_most))
            parts.append(data)
        self.kept = b"".join(parts) if self.kept is None else self.kept
        return self.kept

    async def discard(self, at_most: int) -> bool:
        """Read past what nobody wanted, if it is little; whether the connection can go on."""
        while not self.done and at_most > 0:
            at_most -= len(await self.next())
        return self.done


def _too_large(at_most: int) -> str:
    return f"the request's body is over the limit of {at_most} bytes"


class Exchange:
    """Writes one answer: `respond` in one go, or `start`, `send`..., `finish`, or `take_over`."""

    def __init__(self, wire: Wire, head: RequestHead, *, common: tuple[tuple[str, str], ...]) -> None:
        self.wire, self.head = wire, head
        self.body = WireBody(
            wire, request_framing(head.headers), asked_to_continue=head.minor == 1 and "100-continue" in head.headers.tokens("expect")
        )
        self.keep_alive = head.keep_alive
        self.started = False
        self._common = common
        self._chunked = False
        self._bodiless = head.method == "HEAD"
        # Such a client may end its direction and go on listening; any other that does so over TCP has left.
        wire.half_close = bool(self.upgrades) or head.target.partition("?")[0].endswith(HIJACKING_ENDS)

    @property
    def upgrades(self) -> str:
        """The protocol that the client wants to change to, if any."""
        headers = self.head.headers
        return headers.get("upgrade") if "upgrade" in headers.tokens("connection") else ""

    def respond(self, status: int, body: bytes, *, content_type: str, fields: Iterable[tuple[str, str]] = ()) -> None:
        """The whole answer."""
        head = [*self._common, *fields]
        if status not in {204, 304}:
            head += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        self._write_head(status, reason_of(status), head, b"" if self._bodiless else body)

    def refuse(self, status: int, message: str) -> None:
        """An error, as Docker words them."""
        self.respond(status, msgspec.json.encode({"message": message}) + b"\n", content_type="application/json")

    def start(self, status: int, fields: Iterable[tuple[str, str]], *, reason: str = "", length: int | None = None) -> None:
        """The head of an answer whose body follows: of `length` bytes, or for as long as it takes."""
        head = [*self._common, *fields]
        if status < 200 or status in {204, 304}:
            self._bodiless = True
        elif length is not None:
            head.append(("Content-Length", str(length)))
        elif self.head.minor == 0:
            self.keep_alive = False
        else:
            self._chunked = not self._bodiless
            head.append(("Transfer-Encoding", "chunked"))
        self._write_head(status, reason or reason_of(status), head, b"")

    async def send(self, data: bytes) -> None:
        """A piece of the body, waiting while the client is slow."""
        if data and not self._bodiless:
            self.wire.write(chunk(data) if self._chunked else data)
            await self.wire.drain()

    def finish(self) -> None:
        """The end of the body."""
        if self._chunked:
            self.wire.write(chunk(b""))

    def take_over(self, status: int, fields: Iterable[tuple[str, str]], *, reason: str = "") -> Wire:
        """Leave HTTP: after this head the connection is the caller's."""
        self.keep_alive = False
        self.started = True
        self.wire.half_close = True
        self.wire.write(write_head(f"HTTP/1.1 {status} {reason or reason_of(status)}", fields))
        return self.wire

    async def end(self) -> bool:
        """Settle what is left of the request; whether another may follow on this connection."""
        try:
            if self.keep_alive and await self.body.discard(CHUNK):
                return True
        except BadMessage:  # the answer is out: nothing can be said about it any more
            return False
        if not self.body.done:
            await self.linger()
        return False

    async def linger(self) -> None:
        """End our direction only: closing at once would take the answer away from a client that is still sending."""
        self.wire.write_eof()
        try:
            async with asyncio.timeout(LINGER):
                while await self.wire.read():
                    pass
        except TimeoutError:
            pass

    def _write_head(self, status: int, reason: str, fields: list[tuple[str, str]], body: bytes) -> None:
        if self.body.unasked or (not self.body.done and isinstance(self.body.framing, Length) and self.body.framing.left > CHUNK):
            self.keep_alive = False
        if not self.keep_alive:
            fields.append(("Connection", "close"))
        elif self.head.minor == 0:
            fields.append(("Connection", "keep-alive"))
        self.started = True
        self.wire.write(write_head(f"HTTP/1.1 {status} {reason}", fields) + body)
