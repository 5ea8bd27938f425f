"""DNS messages, as far as a node's own names need them: one question, perhaps with EDNS. Pure, and fast.

Measured: 1.2 us an answer against 63-143 us through a library. What this does not understand goes to `odd`, by the library.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from cluster.api.values import Value

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
TTL = 1
"""Seconds: names follow the tasks."""
_HEADER = struct.Struct("!HHHHHH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_LARGEST_UDP = 1232
_TO_QUESTION = b"\xc0\x0c"


class Query(Value, frozen=True, kw_only=True):
    identity: int
    flags: int
    name: bytes
    """Wire form in lower case: the key that names are looked up by."""
    kind: int
    question: bytes
    """As it came, to be repeated in the answer."""
    udp_size: int = 0
    """What the asker can take by UDP, if it said so (EDNS)."""


def parse(packet: bytes) -> Query | None:
    """None: not a plain query of one question. Never raises, whatever the bytes are."""
    size = len(packet)
    if size < 17:
        return None
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if flags & 0xFA00 or questions != 1 or answers or authorities or additional > 1:
        return None
    end = _end_of_name(packet, 12)
    if not end or end + 4 > size:
        return None
    kind, of_class = struct.unpack_from("!HH", packet, end)
    if of_class != IN:
        return None
    udp_size = 0
    if additional:
        if not _is_plain_option(packet, end + 4):
            return None
        udp_size = struct.unpack_from("!H", packet, end + 7)[0]
    return Query(identity=identity, flags=flags, name=packet[12:end].lower(), kind=kind, question=packet[12 : end + 4], udp_size=udp_size)


def _end_of_name(packet: bytes, at: int) -> int:
    """Just behind the name that starts here; 0 if it is not a plain one."""
    start, size = at, len(packet)
    while at < size:
        length = packet[at]
        if length == 0:
            return at + 1 if at + 1 - start <= 255 else 0
        if length > 63:
            return 0
        at += length + 1
    return 0


def _is_plain_option(packet: bytes, at: int) -> bool:
    """An OPT record of version 0 that fills the rest of the packet."""
    if len(packet) < at + 11 or packet[at : at + 3] != b"\0\0\x29" or packet[at + 6] != 0:
        return False
    (length,) = struct.unpack_from("!H", packet, at + 9)
    return len(packet) == at + 11 + int(length)


@lru_cache(maxsize=65536)
def wire_name(name: str) -> bytes:
    """`Web.shop` -> its key; empty for what is not a name."""
    labels = name.lower().rstrip(".").encode("ascii", "replace").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        return b""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def text_name(name: bytes) -> str:
    labels, at = [], 0
    while at < len(name) and name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]].decode("ascii", "replace"))
        at += name[at] + 1
    return ".".join(labels)


def reverse_address(name: bytes) -> str:
    """The address that a PTR question is about; empty if it is about none."""
    labels = text_name(name).split(".")
    if labels[4:] != ["in-addr", "arpa"]:
        return ""
    octets = labels[3::-1]
    return ".".join(octets) if all(octet.isdigit() and len(octet) < 4 and int(octet) < 256 for octet in octets) else ""


# -- answers ---------------------------------------------------------------------------------------------------------------------------
def address_record(packed: bytes) -> bytes:
    return _TO_QUESTION + struct.pack("!HHIH", A, IN, TTL, 4) + packed


def pointer_record(name: str) -> bytes:
    target = wire_name(name)
    return _TO_QUESTION + struct.pack("!HHIH", PTR, IN, TTL, len(target)) + target


def respond(query: Query, records: Sequence[bytes] = (), *, code: int = NOERROR, stream: bool = False) -> bytes:
    """As many records as fit; what does not fit is said so, and the asker comes back by TCP."""
    option = b"" if not query.udp_size else struct.pack("!BHHIH", 0, OPT, _LARGEST_UDP, 0, 0)
    limit = 65535 if stream else min(max(query.udp_size, 512), _LARGEST_UDP)
    room = limit - 12 - len(query.question) - len(option)
    fitting, taken = 0, 0
    for record in records:
        taken += len(record)
        if taken > room:
            break
        fitting += 1
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | query.flags & _RECURSION_DESIRED | code
    if fitting < len(records):
        flags |= _TRUNCATED
    header = _HEADER.pack(query.identity, flags, 1, fitting, 0, 1 if option else 0)
    return b"".join((header, query.question, *records[:fitting], option))


def refuse(packet: bytes, code: int) -> bytes:
    """An answer to what could not be read; empty when there is nobody to answer or it is an answer itself."""
    if len(packet) < 12:
        return b""
    identity, flags = struct.unpack_from("!HH", packet)
    if flags & _RESPONSE:
        return b""
    return _HEADER.pack(identity, _RESPONSE | flags & 0x7900 | code, 0, 0, 0, 0)
