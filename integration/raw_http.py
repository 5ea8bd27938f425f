"""Requests as no client library would write them: over the daemon's socket, with whatever body, and as bytes where that matters."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = "/v1.41"
"""What dockerd 20.10 speaks, whose answers ours are held against."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = connected(self._path, timeout=float(self.timeout or 30))


def connected(path: str | Path, *, timeout: float = 30) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(str(path))
    return sock


def call(
    path: Path, method: str, target: str, body: object = None, *, headers: Mapping[str, str] | None = None, timeout: float = 40
) -> tuple[int, Any]:
    """(status, what was answered): decoded if it is JSON. Strings and bytes go as they are, all else as JSON."""
    sent = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
    connection = _Unix(path, timeout)
    try:
        kind = {} if sent is None else {"Content-Type": "application/json"}
        quoted = VERSION + target.replace(" ", "%20").replace('"', "%22")
        connection.request(method, quoted, sent, {**kind, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read().decode(errors="replace")
    finally:
        connection.close()
    try:
        return answer.status, json.loads(content)
    except ValueError:
        return answer.status, content


def message(answer: Any) -> str:
    """The words of a refusal."""
    return str(answer["message"]) if isinstance(answer, dict) and "message" in answer else str(answer)


def exchange(path: Path, sent: bytes, *, half_close: bool = False, timeout: float = 10) -> bytes:
    """Bytes in, bytes out, until the daemon closes."""
    with connected(path, timeout=timeout) as sock:
        sock.sendall(sent)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while piece := sock.recv(65536):
            got += piece
    return bytes(got)
