"""Changes of elements in the kernel's own words: nftables' library would first read every table, chain and set of the namespace. Pure.

Only for keys and values of the VIP tables: addresses, numbers of 32 bits, verdicts.
"""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

from node_agent.network.netlink import CREATE, Request, attribute, nested, text
from node_agent.network.tables import Step, Table

NFTABLES = 10
"""The subsystem of netfilter's netlink."""
_NEW_ELEMENTS, _DELETE_ELEMENTS = NFTABLES << 8 | 12, NFTABLES << 8 | 14
_NFGENMSG = struct.pack("=BBH", socket.AF_INET, 0, 0)
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_ELEMENT, _KEY, _DATA = 1, 1, 2
_VALUE, _VERDICT = 1, 2
_CODE, _CHAIN = 1, 2
_CODES = {"jump": struct.pack("!i", -3), "goto": struct.pack("!i", -4)}
_MOST = 500
"""Elements of a message, whose list has to fit in 64 KiB."""


def requests(table: Table, steps: Sequence[Step], plain: frozenset[str]) -> tuple[Request, ...] | None:
    """`plain`: the lookups that this can be done for; None when there are others, or when it is too much for one message."""
    if any(step.lookup not in plain or len(step.gone) > _MOST or len(step.new) > _MOST for step in steps):
        return None
    return tuple(request for step in steps for request in _requests(table, step))


def _requests(table: Table, step: Step) -> Iterator[Request]:
    head = _NFGENMSG + text(_TABLE, table.name) + text(_SET, step.lookup)
    if step.gone:
        yield Request(_DELETE_ELEMENTS, 0, head + _list(dict.fromkeys(step.gone, "")), what=f"delete elements of {step.lookup}")
    if step.new:
        yield Request(_NEW_ELEMENTS, CREATE, head + _list(step.new), what=f"add elements to {step.lookup}")


def _list(elements: Mapping[str, str]) -> bytes:
    return nested(_ELEMENTS, *(nested(_ELEMENT, nested(_KEY, _value(key)), *_data(value)) for key, value in elements.items()))


def _value(words: str) -> bytes:
    """Addresses as they are on the wire, numbers as the processor has them."""
    return attribute(_VALUE, b"".join(map(_word, words.split(" . "))))


def _word(word: str) -> bytes:
    return socket.inet_aton(word) if "." in word else struct.pack("=I", int(word))


def _data(value: str) -> Iterator[bytes]:
    if not value:
        return
    verdict, _, chain = value.partition(" ")
    yield nested(_DATA, nested(_VERDICT, attribute(_CODE, _CODES[verdict]), text(_CHAIN, chain)) if chain else _value(value))
