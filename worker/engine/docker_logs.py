"""Logs as the Docker Engine API sends them, cut back into lines. Pure; docker.py feeds it bytes.

Without a terminal, each log message is a frame: stream number, three zeros, length, then the message. With one, it is plain text. We
always ask for timestamps, so each message begins with one.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from worker.ports import LogLine

_HEADER = 8
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")
_LONGEST_TTY_LINE = 64 * 1024


class FramedLog:
    """The multiplexed form."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[LogLine]:
        self._buffer += received
        while len(self._buffer) >= _HEADER:
            length = int.from_bytes(self._buffer[4:_HEADER], "big")
            if len(self._buffer) < _HEADER + length:
                return
            source = self._buffer[0]
            message = bytes(self._buffer[_HEADER : _HEADER + length])
            del self._buffer[: _HEADER + length]
            yield _line(2 if source == 2 else 1, message)

    def rest(self) -> Iterator[LogLine]:
        """What is left when the engine has ended the stream: nothing, as a frame that was cut off says nothing."""
        return iter(())


class TerminalLog:
    """The raw form: everything is stdout."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, received: bytes) -> Iterator[LogLine]:
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            yield _line(1, line + b"\n")
        while len(self._buffer) > _LONGEST_TTY_LINE:
            piece, self._buffer = self._buffer[:_LONGEST_TTY_LINE], self._buffer[_LONGEST_TTY_LINE:]
            yield _line(1, piece)

    def rest(self) -> Iterator[LogLine]:
        if self._buffer:
            yield _line(1, self._buffer)


def _line(source: int, message: bytes) -> LogLine:
    stamp = _STAMP.match(message)
    if stamp is None:
        return LogLine(source=source, timestamp=0, line=message)
    return LogLine(source=source, timestamp=_nanoseconds(stamp), line=message[stamp.end() :])


def _nanoseconds(stamp: "re.Match[bytes]") -> int:
    zone = b"+00:00" if stamp[3] == b"Z" else stamp[3]
    seconds = int(datetime.fromisoformat((stamp[1] + zone).decode()).timestamp())
    return seconds * 1_000_000_000 + int((stamp[2] or b"0").ljust(9, b"0"))


def log_query(*, follow: bool, tail: int, since: int, until: int, stdout: bool, stderr: bool) -> dict[str, str]:
    """The parameters of `GET /containers/ID/logs`; times as the engine reads them, `seconds.nanoseconds`."""
    query = {
        "follow": str(int(follow)),
        "stdout": str(int(stdout)),
        "stderr": str(int(stderr)),
        "timestamps": "1",
        "tail": "all" if tail < 0 else str(tail),
    }
    if since:
        query["since"] = _engine_time(since)
    if until:
        query["until"] = _engine_time(until)
    return query


def _engine_time(nanoseconds: int) -> str:
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"
