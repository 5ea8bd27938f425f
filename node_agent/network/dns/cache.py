"""Answers of the world, remembered for as long as they may be: positive ones by their records' TTL, denials by their SOA (RFC 2308). Pure.

A remembered answer is for the same question with the same flags and options, of the same servers; nothing is shared between tasks that ask
different ones. What an answer says is not read, but for its TTLs, which have grown older when it is given again.
"""

import struct
from collections import OrderedDict
from collections.abc import Sequence

from cluster.api.values import Value
from node_agent.network.dns import wire

SOA = 6
LONGEST = 3600
"""Seconds, however long an answer says that it holds."""
MOST = 4096
"""Answers, the least used of which goes first; with the size below, 16 MiB at the worst."""
LARGEST = 4096
"""Bytes of an answer that is remembered."""
_PLAIN_OPTION = 11
"""Bytes of an OPT record without options: a cookie is for one asker."""
_ASKED = 0x0130
"""The flags of a question that may change its answer: recursion desired, authentic data, checking disabled."""

Key = tuple[bytes, int, bytes, tuple[str, ...], bool]


class Record(Value, frozen=True, kw_only=True):
    kind: int
    ttl: int
    at: int
    """Where its TTL is in the packet."""
    content: bytes


class _Remembered(Value, frozen=True, kw_only=True):
    packet: bytes
    since: float
    until: float
    ttls: tuple[tuple[int, int], ...]
    """Where each is, and what it was."""


class Cache:
    """`now`: monotonic seconds, from whoever asks."""

    def __init__(self) -> None:
        self._held: OrderedDict[Key, _Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, packet: bytes, servers: Sequence[str], *, stream: bool, now: float) -> bytes:
        """The answer to this very packet, with its identity; empty when none is remembered."""
        key = _key(packet, servers, stream=stream)
        found = None if key is None else self._held.get(key)
        if key is None or found is None:
            return b""
        if now >= found.until:
            del self._held[key]
            return b""
        self._held.move_to_end(key)
        return _aged(found, packet, int(now - found.since))

    def put(self, packet: bytes, servers: Sequence[str], answer: bytes, *, stream: bool, now: float) -> None:
        """Nothing happens when it may not be remembered."""
        key = _key(packet, servers, stream=stream)
        records = None if key is None or len(answer) > LARGEST else _sections(answer)
        if key is None or records is None or not (seconds := _lifetime(answer, *records)):
            return
        ttls = tuple((record.at, record.ttl) for section in records for record in section if record.kind != wire.OPT)
        self._held[key] = _Remembered(packet=answer, since=now, until=now + seconds, ttls=ttls)
        self._held.move_to_end(key)
        while len(self._held) > MOST:
            self._held.popitem(last=False)


def _key(packet: bytes, servers: Sequence[str], *, stream: bool) -> Key | None:
    query = wire.parse(packet)
    if query is None:
        return None
    rest = packet[12 + len(query.question) :]
    if len(rest) not in (0, _PLAIN_OPTION):
        return None
    return query.question.lower(), query.flags & _ASKED, rest, tuple(servers), stream


def _aged(found: _Remembered, packet: bytes, age: int) -> bytes:
    """The question comes back as it was asked, in whatever case: some askers check that."""
    answer = bytearray(found.packet)
    for at, ttl in found.ttls:
        struct.pack_into("!I", answer, at, max(0, ttl - age))
    query = wire.parse(packet)
    asked = b"" if query is None else query.question
    answer[:2], answer[12 : 12 + len(asked)] = packet[:2], asked
    return bytes(answer)


def _lifetime(answer: bytes, answers: list[Record], authorities: list[Record], additional: list[Record]) -> int:
    """Seconds; 0 for what is not to be remembered: a failure, a part of an answer, a denial that does not say for how long."""
    flags = int.from_bytes(answer[2:4], "big")
    code = flags & 0x0F
    if flags & 0x0200 or code not in (wire.NOERROR, wire.NXDOMAIN):
        return 0
    lifetimes = [record.ttl for record in (*answers, *additional) if record.kind != wire.OPT]
    denials = [min(record.ttl, int.from_bytes(record.content[-4:], "big")) for record in authorities if record.kind == SOA]
    if not denials and (code == wire.NXDOMAIN or not answers):
        return 0
    return min(*lifetimes, *denials, LONGEST, LONGEST)


def _sections(packet: bytes) -> tuple[list[Record], list[Record], list[Record]] | None:
    """Answers, authorities, additional records; None for what is not an answer to one question, or is broken."""
    if len(packet) < 12:
        return None
    questions, *counts = struct.unpack_from("!4H", packet, 4)
    at = _behind_name(packet, 12)
    if questions != 1 or not at:
        return None
    at += 4
    sections: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    for section, count in zip(sections, counts, strict=True):
        for _ in range(count):
            start = _behind_name(packet, at)
            if not start or start + 10 > len(packet):
                return None
            kind, _, ttl, length = struct.unpack_from("!HHIH", packet, start)
            at = start + 10 + length
            if at > len(packet):
                return None
            # A TTL with the highest bit set counts as none (RFC 2181, section 8).
            section.append(Record(kind=kind, ttl=ttl if ttl < 1 << 31 else 0, at=start + 4, content=packet[start + 10 : at]))
    return sections


def _behind_name(packet: bytes, at: int) -> int:
    """0 if no name starts here."""
    while at < len(packet):
        length = packet[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return 0
        at += length + 1
    return 0
