"""HTTP/1.1 as bytes: reading and writing heads, and where a body ends. Pure; `server` and `engine_link` move the bytes.

Strict where leniency would let two readers of one request disagree about its end (RFC 9112, sections 6 and 11.2).
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple, Protocol

MAX_HEAD = 1024 * 1024  # as Go's: a build's arguments and labels are in its target, credentials for many registries in X-Registry-Config
MAX_LINE = 64 * 1024  # between chunks
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_ENCODED = re.compile(r"%(..?)?")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"HTTP/1\.([01])")

# About the connection, not the message: never passed on (RFC 9110, section 7.6.1), nor the length, which each side states anew.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class BadMessage(ValueError):
    """Bytes that are not HTTP/1.1 as we accept it; carries the status to refuse them with."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Headers:
    """Header fields in their order, looked up without regard to case."""

    __slots__ = ("_by_name", "fields")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.fields = tuple(fields)
        self._by_name: dict[str, str] = {}
        for name, value in self.fields:
            key = name.lower()
            before = self._by_name.get(key)
            self._by_name[key] = value if before is None else f"{before}, {value}"

    def get(self, name: str, default: str = "") -> str:
        return self._by_name.get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._by_name

    def tokens(self, name: str) -> list[str]:
        """The comma-separated words of a field, in lower case."""
        return [word.strip().lower() for word in self.get(name).split(",") if word.strip()]

    def end_to_end(self, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
        """The fields that go on to the next hop."""
        dropped = HOP_BY_HOP | without | frozenset(self.tokens("connection"))
        return [(name, value) for name, value in self.fields if name.lower() not in dropped]


class RequestHead(NamedTuple):
    """The first part of a request."""

    method: str
    target: str
    minor: int
    headers: Headers

    @property
    def keep_alive(self) -> bool:
        connection = self.headers.tokens("connection")
        return "close" not in connection and (self.minor == 1 or "keep-alive" in connection)


class ResponseHead(NamedTuple):
    """The first part of a response."""

    status: int
    reason: str
    headers: Headers


def cut_head(buffer: bytearray) -> str | None:
    """Take a message's head off the buffer; None while it is not all there."""
    while buffer[:2] == b"\r\n":  # a client may send one after a body
        del buffer[:2]
    end = _END_OF_HEAD.search(buffer, 0, MAX_HEAD + 4)  # people write lines with LF alone to a socket, and every server reads them
    if end is None:
        if len(buffer) > MAX_HEAD:
            raise BadMessage(f"the request's head is over {MAX_HEAD} bytes", 431)
        return None
    head = buffer[: end.start()].replace(b"\r\n", b"\n").decode("latin-1")
    del buffer[: end.end()]
    return head


def parse_request(head: str) -> RequestHead:
    """The request that these lines begin."""
    first, *lines = head.split("\n")
    words = first.split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise BadMessage(f"malformed request line {first[:80]!r}")
    version = _VERSION.fullmatch(words[2])
    if version is None:
        raise BadMessage(f"unsupported protocol {words[2][:20]!r}: HTTP/1.1 is spoken here", 505)
    headers = Headers(_fields(lines))
    if version[1] == "1" and sum(name.lower() == "host" for name, _ in headers.fields) != 1:  # RFC 9112, section 3.2
        raise BadMessage("a request of HTTP/1.1 has one Host header")
    return RequestHead(words[0], _origin_form(words[1]), int(version[1]), headers)


def _origin_form(target: str) -> str:
    """A target as it is routed: without scheme and host, which proxies put there, and with no character encoded that need not be."""
    rest = target
    for scheme in ("http://", "https://"):
        if target.startswith(scheme):
            rest = "/" + target.removeprefix(scheme).partition("/")[2]
    path, mark, query = rest.partition("?")
    if not path.startswith("/"):
        raise BadMessage(f"malformed request target {target[:80]!r}")
    return _ENCODED.sub(_plain, path) + mark + query


def _plain(encoded: re.Match[str]) -> str:
    try:
        character = chr(int(encoded[1], 16)) if len(encoded[0]) == 3 and encoded[1].isalnum() else None
    except ValueError:
        character = None
    if character is None:
        raise BadMessage(f"malformed request target: invalid URL escape {encoded[0]!r}")
    return character if _UNRESERVED.fullmatch(character) else encoded[0]


def parse_response(head: str) -> ResponseHead:
    """The response that these lines begin."""
    first, *lines = head.split("\n")
    words = first.split(" ", 2)
    if len(words) < 2 or _VERSION.fullmatch(words[0]) is None or not words[1].isdecimal():
        raise BadMessage(f"malformed status line {first[:80]!r}")
    return ResponseHead(int(words[1]), words[2] if len(words) > 2 else "", Headers(_fields(lines)))


def _fields(lines: list[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or "\r" in value or not _TOKEN.fullmatch(name):  # folded lines and "Name :" fail here too
            raise BadMessage(f"malformed header line {line[:80]!r}")
        yield name, value.strip(" \t")


def write_head(first_line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A head on the wire."""
    lines = [first_line]
    lines += [f"{name}: {value}" for name, value in fields]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1:
        raise BadMessage("a header field holds a line break", 500)
    return (text + "\r\n\r\n").encode("latin-1", "replace")


def reason_of(status: int) -> str:
    """The words that usually go with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Framing(Protocol):
    """Where a body ends: `take` removes from the buffer what belongs to it and returns its content."""

    @property
    def done(self) -> bool: ...
    def take(self, buffer: bytearray, *, eof: bool) -> bytes: ...


class Length:
    """A body of a stated length; also "no body"."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    @property
    def done(self) -> bool:
        return self.left == 0

    def take(self, buffer: bytearray, *, eof: bool) -> bytes:
        data = _cut(buffer, self.left)
        self.left -= len(data)
        if eof and self.left:
            raise BadMessage("the connection ended within a body")
        return data


class UntilEof:
    """A response's body that ends with its connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, buffer: bytearray, *, eof: bool) -> bytes:
        data = bytes(buffer)
        buffer.clear()
        self.done = eof
        return data


class Chunked:
    """A body in chunks (RFC 9112, section 7.1). Extensions and trailers are read and forgotten."""

    __slots__ = ("_at_end_of_chunk", "_in_trailers", "_left", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0
        self._at_end_of_chunk = False
        self._in_trailers = False

    def take(self, buffer: bytearray, *, eof: bool) -> bytes:
        parts = []
        while not self.done:
            if self._left:
                part = _cut(buffer, self._left)
                if not part:
                    break
                self._left -= len(part)
                self._at_end_of_chunk = not self._left
                parts.append(part)
            elif not self._next_line(buffer):
                break
        if eof and not self.done:
            raise BadMessage("the connection ended within a body")
        return b"".join(parts)

    def _next_line(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n", 0, MAX_LINE)
        if end < 0:
            if len(buffer) > MAX_LINE:
                raise BadMessage("malformed chunk")
            return False
        line = _cut(buffer, end)
        del buffer[:2]
        if self._in_trailers:
            self.done = not line
        elif self._at_end_of_chunk:
            if line:
                raise BadMessage("malformed chunk")
            self._at_end_of_chunk = False
        else:
            size = line.partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
                raise BadMessage("malformed chunk size")
            self._left = int(size, 16)
            self._in_trailers = self._left == 0
        return True


def _cut(buffer: bytearray, size: int) -> bytes:
    """Take at most `size` bytes off the front."""
    if len(buffer) <= size:
        data = bytes(buffer)
        buffer.clear()
    else:
        data = bytes(memoryview(buffer)[:size])
        del buffer[:size]
    return data


def chunk(data: bytes) -> bytes:
    """The bytes of one chunk; of no data, those that end a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def request_framing(headers: Headers) -> Framing:
    """How a request's body is framed."""
    stated = _stated_framing(headers)
    return Length(0) if stated is None else stated


def response_framing(head: ResponseHead, *, method: str) -> Framing:
    """How a response's body is framed, given the method it answers."""
    if method == "HEAD" or head.status < 200 or head.status in {204, 304}:
        return Length(0)
    stated = _stated_framing(head.headers)
    return UntilEof() if stated is None else stated


def _stated_framing(headers: Headers) -> Framing | None:
    codings, lengths = headers.tokens("transfer-encoding"), set(headers.tokens("content-length"))
    if codings:
        if lengths:
            raise BadMessage("a message has both Content-Length and Transfer-Encoding")
        if codings != ["chunked"]:
            raise BadMessage(f"unsupported transfer encoding {', '.join(codings)!r}", 501)
        return Chunked()
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not re.fullmatch(r"[0-9]{1,18}", length):
        raise BadMessage("invalid Content-Length")
    return Length(int(length))
