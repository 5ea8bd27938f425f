"""HTTP/1.1 as far as one client of one daemon needs it: one request, one answer, its body whole or as it comes.

The standard library's client costs as much to import as all of `service ls` may take (email's parser, ssl); this is what is left
when only what the Engine API does is supported.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping

LONGEST_LINE = 65536
MOST_HEADERS = 200


class HttpError(Exception):
    """The daemon's answer is not HTTP, or ends too early."""


class Body:
    """An answer's body: of a known length, in chunks, or until the connection closes."""

    def __init__(self, stream: io.BufferedReader, *, length: int | None, chunked: bool) -> None:
        self._stream, self._chunked = stream, chunked
        self._left = length  # of the body or, in chunks, of the chunk; None is until the end
        self.finished = length == 0 and not chunked
        if chunked:
            self._left = 0

    def read1(self) -> bytes:
        """What has come, at least a byte of it; b"" at the end."""
        if self.finished:
            return b""
        if self._chunked and self._left == 0:
            self._next_chunk()
            if self.finished:
                return b""
        piece = self._stream.read1(65536 if self._left is None else min(self._left, 65536))
        self._took(piece)
        return piece

    def read(self) -> bytes:
        """All that is left of it."""
        return b"".join(iter(self.read1, b""))

    def _took(self, piece: bytes) -> None:
        if self._left is None:
            self.finished = not piece
            return
        if not piece:
            raise HttpError("the connection was closed in the middle of an answer")
        self._left -= len(piece)
        if self._left == 0:
            if self._chunked:
                _line(self._stream)  # the line end after a chunk
            else:
                self.finished = True

    def _next_chunk(self) -> None:
        head = _line(self._stream).partition(b";")[0].strip()
        try:
            self._left = int(head, 16)
        except ValueError:
            raise HttpError(f"a chunk begins with {head[:20]!r}") from None
        if self._left == 0:
            while _line(self._stream).strip():
                pass  # trailers
            self.finished = True


class Response:
    """An answer, and the connection it came on."""

    def __init__(self, connection: Connection, *, status: int, reason: str, headers: Mapping[str, str], stream: io.BufferedReader) -> None:
        self.status, self.reason, self.headers = status, reason, headers
        self._connection = connection
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = 0 if status in {204, 304} else _length(headers)
        self.body = Body(stream, length=length, chunked=chunked and status not in {204, 304})
        self._bounded = chunked or length is not None

    def read(self) -> bytes:
        return self.body.read()

    def read1(self) -> bytes:
        return self.body.read1()

    @property
    def reusable(self) -> bool:
        return self._bounded and self.body.finished and self.headers.get("connection", "").lower() != "close"

    def send(self, data: bytes) -> None:
        """To a daemon that has left HTTP with this answer."""
        self._connection.send(data)

    def end_sending(self) -> None:
        """Nothing more is sent; the answer goes on."""
        self._connection.end_sending()

    def close(self) -> None:
        self._connection.close()


class Connection:
    """One connection; requests go over it one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream = sock.makefile("rb")

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", *(f"{name}: {value}" for name, value in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        elif method == "POST":
            lines.append("Content-Length: 0")
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        status, reason = self._status()
        while status < 200:
            self._headers()
            status, reason = self._status()
        return Response(self, status=status, reason=reason, headers=self._headers(), stream=self._stream)

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def end_sending(self) -> None:
        """Not over TLS: `ssl` ends both directions at once."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._stream.close()
        self._sock.close()

    def _status(self) -> tuple[int, str]:
        version, _, rest = _line(self._stream).decode("latin-1").strip().partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise HttpError(f"not an HTTP answer: {version[:40]!r}")
        return int(code), reason

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while line := _line(self._stream).strip():
            name, _, value = line.decode("latin-1").partition(":")
            found[name.strip().lower()] = value.strip()
            if len(found) > MOST_HEADERS:
                raise HttpError("too many headers")
        return found


def _line(stream: io.BufferedReader) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise HttpError("the connection was closed without an answer" if not line else "a line is too long or cut short")
    return line


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not text.isdigit():
        raise HttpError(f"the length of the answer is {text[:20]!r}")
    return int(text)
