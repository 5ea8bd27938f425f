"""Netlink on the wire: attributes, batches with their acknowledgements, dumps. Thread-bound and blocking; the worker thread's.

Written by hand because the data plane sends forwarding entries by the thousand (7 us each in a batch, 340-540 us through pyroute2,
whose import would also add 11 MiB to the daemon); with the batches here the few link messages cost no second library.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from node_agent.network.netns import inside

REQUEST, MULTI, ACK, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x2, 0x4, 0x100, 0x200, 0x400
DUMP = 0x300
_DUMP_INTERRUPTED = 0x10
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_BATCH_BEGIN, _BATCH_END, _GENERATION = 0x10, 0x11, 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_MESSAGES_A_SEND = 50
"""Their acknowledgements must fit in the receive buffer."""


class NetlinkError(OSError):
    """The kernel refused a request."""

    def __init__(self, number: int, what: str, detail: str = "") -> None:
        super().__init__(number, f"{what}: {os.strerror(number)}" + (f" ({detail})" if detail else ""))


class Request:
    """One message, and the error numbers that mean `it is so already`."""

    __slots__ = ("body", "fine", "flags", "kind", "what")

    def __init__(self, kind: int, flags: int, body: bytes, *, what: str, fine: tuple[int, ...] = ()) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.what = what
        self.fine = fine


def attribute(kind: int, content: bytes) -> bytes:
    """Header, content and padding."""
    length = 4 + len(content)
    return _ATTRIBUTE.pack(length, kind) + content + b"\0" * (-length % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(inner))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(body: bytes, start: int = 0) -> dict[int, bytes]:
    """The attributes from `start` on; of several with one number the last counts."""
    return dict(_attributes(body, start))


def each_attribute(body: bytes) -> Iterator[bytes]:
    """The contents of a list."""
    return (content for _, content in _attributes(body, 0))


def _attributes(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    end = len(body)
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            break
        yield kind & 0x3FFF, body[start + 4 : start + length]
        start += (length + 3) & ~3


class Netlink:
    """One netlink socket, living in the namespace that it was made in."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE, *, namespace: str | Path | None = None) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(10)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def do(self, *requests: Request) -> None:
        """Send the requests in order; raises for the first that failed, after all of its batch were tried."""
        for start in range(0, len(requests), _MESSAGES_A_SEND):
            self._batch(requests[start : start + _MESSAGES_A_SEND])

    def _batch(self, requests: Sequence[Request]) -> None:
        waiting: dict[int, Request] = {}
        packet = bytearray()
        for request in requests:
            self._sequence += 1
            waiting[self._sequence] = request
            packet += _HEADER.pack(16 + len(request.body), request.kind, request.flags | REQUEST | ACK, self._sequence, 0)
            packet += request.body + b"\0" * (-len(request.body) % 4)
        self._socket.send(packet)
        failed: NetlinkError | None = None
        while waiting:
            for kind, sequence, _, body in self._receive():
                if kind == _ERROR and sequence in waiting:
                    problem = _refusal(waiting.pop(sequence), body)
                    failed = failed or problem
        if failed:
            raise failed

    def transact(self, subsystem: int, generation: int, requests: Sequence[Request]) -> int:
        """All of them or none, if netfilter's rules are of this generation; returns that of afterwards. Raises NetlinkError."""
        start = struct.pack("!BBH", 0, 0, subsystem)
        begin = Request(_BATCH_BEGIN, 0, start + attribute(_GENERATION, struct.pack("!I", generation)), what="change of another generation")
        every = (begin, *requests, Request(_BATCH_END, 0, start, what="commit"))
        first, last = self._sequence + 1, self._sequence + len(every) - 1
        self._sequence += len(every)
        packet = bytearray()
        for sequence, request in enumerate(every, first):
            flags = request.flags | REQUEST | (ACK if sequence == last else 0)
            packet += _HEADER.pack(16 + len(request.body), request.kind, flags, sequence, 0) + request.body
        self._socket.send(packet)
        while True:  # a refusal is told of the request that it is about, and all is well once the last one is acknowledged
            for kind, sequence, _, body in self._receive():
                if kind != _ERROR or not first <= sequence < first + len(every):
                    continue
                if (problem := _refusal(every[sequence - first], body)) is not None:
                    raise problem
                if sequence == last:
                    return generation + 1

    def ask(self, kind: int, body: bytes) -> bytes:
        """The one answer to a question."""
        self._sequence += 1
        self._socket.send(_HEADER.pack(16 + len(body), kind, REQUEST, self._sequence, 0) + body)
        while True:
            for answer, sequence, _, content in self._receive():
                if sequence != self._sequence:
                    continue
                if answer == _ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", content)[0], f"question of netlink type {kind}")
                return content

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Every object of a kind; asked again if it changed while the kernel was telling."""
        for _ in range(5):
            if (found := self._dump_once(kind, body)) is not None:
                return found
        raise NetlinkError(11, f"dump of netlink type {kind}")

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._sequence += 1
        self._socket.send(_HEADER.pack(16 + len(body), kind, REQUEST | DUMP, self._sequence, 0) + body)
        found: list[bytes] = []
        interrupted = False
        while True:
            for answer, sequence, flags, content in self._receive():
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                if answer == _DONE:
                    return None if interrupted else found
                if answer == _ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", content)[0], f"dump of netlink type {kind}")
                found.append(content)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        packet = self._socket.recv(1 << 18)
        at = 0
        while at + 16 <= len(packet):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(packet, at)
            yield kind, sequence, flags, packet[at + 16 : at + length]
            at += (length + 3) & ~3


def _refusal(request: Request, body: bytes) -> NetlinkError | None:
    number = -struct.unpack_from("=i", body)[0]
    if number == 0 or number in request.fine:
        return None
    details: Mapping[int, bytes] = attributes(body, 20) if len(body) > 20 else {}
    return NetlinkError(number, request.what, details.get(1, b"").rstrip(b"\0").decode(errors="replace"))
