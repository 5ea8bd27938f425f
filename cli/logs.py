"""Log lines on their way to the terminal: frames in, lines out with the task and node that wrote each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from cli.errors import CliError

NODE, SERVICE, TASK = "com.docker.swarm.node.id", "com.docker.swarm.service.id", "com.docker.swarm.task.id"
OWN = frozenset({NODE, SERVICE, TASK})


class Line(NamedTuple):
    """A log line taken apart."""

    stamp: str
    details: Mapping[str, str]
    text: bytes


def lines(frames: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Whole lines of each stream; what has no line end yet waits for the rest of it, or for the end."""
    pending: dict[int, bytes] = {}
    for stream, piece in frames:
        whole, newline, rest = (pending.pop(stream, b"") + piece).rpartition(b"\n")
        if newline:
            for line in whole.split(b"\n"):
                yield stream, line
        if rest:
            pending[stream] = rest
    yield from pending.items()


def taken_apart(line: bytes, *, stamped: bool) -> Line:
    """[STAMP ]KEY=VALUE,KEY=VALUE TEXT, as the API writes a line with details."""
    stamp, rest = "", line
    if stamped:
        head, space, rest = line.partition(b" ")
        stamp = head.decode("ascii", "replace")
        if not space:
            raise CliError(f"invalid context in log message: {line[:80]!r}")
    head, _, text = rest.partition(b" ")
    details = dict(pair.partition("=")[::2] for pair in head.decode("utf-8", "replace").split(","))
    if not details.keys() >= OWN:
        raise CliError(f"missing node id, service id or task id in the context of a log message: {line[:80]!r}")
    return Line(stamp, details, text)


def shown(line: Line, *, source: str, details: bool) -> bytes:
    """The line as people read it."""
    stamp = f"{line.stamp} " if line.stamp else ""
    others = ",".join(f"{key}={value}" for key, value in sorted(line.details.items()) if key not in OWN)
    extra = f"{others} " if details else ""
    return f"{stamp}{source}    | {extra}".encode() + line.text
