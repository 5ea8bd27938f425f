"""Identifiers: drawn at the edge that takes a request, so that a forwarded retry is recognised (DESIGN 3)."""

import re
from collections.abc import Callable

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
LENGTH = 25
_ID = re.compile(r"[0-9a-z]{25}\Z")

Id = str
DrawId = Callable[[], Id]
"""Where the shells get fresh ids from; plans are given one, they never draw themselves."""


def from_bytes(random: bytes) -> Id:
    """25 characters of base 36 from 128 random bits, as Swarm's ids are."""
    number = int.from_bytes(random[:16], "big")
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, 36)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def is_id(text: str) -> bool:
    return _ID.match(text) is not None
