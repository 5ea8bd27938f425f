"""What goes over the underlay: the header, sealing and opening in one direction. Pure.

    kind 1 | part 1 | sender's number 2 | key 4 | packet's number 8 | sealed content | tag 16

The header is authenticated with the content. A frame larger than a packet (the kernel hands over up to 64 KiB of TCP at once) is cut and
each part sealed by itself, numbered in a row; `part` has its place, and the top bit the last one's. The receiver takes all or none.

The packet's number is the nonce, with a salt that belongs to the key. Its upper half names the key's generation: after 2^32 packets
the next key is derived, and no number comes twice under one.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable

from cryptography.exceptions import InvalidTag

from node_agent.network.crypt.keys import Cipher
from node_agent.network.crypt.window import ReplayWindow

HEADER = struct.Struct("!BBHIQ")
TAG = 16
OVERHEAD = HEADER.size + TAG
FRAME, GREETING = 1, 2
LAST = 0x80
MOST_PARTS = 128
GENERATION = 32
"""Bits of the number that one key serves."""
_MOST_TORN = 16

CipherOf = Callable[[int], Cipher]
"""By generation."""


class Dropped(Exception):
    """A packet that is not taken; the text is what it counts as."""


class Outgoing:
    """Seals for one receiver under one of the cluster's keys."""

    def __init__(self, cipher_of: CipherOf, *, number: int, key: int, last: int = 0) -> None:
        """`number`: the sender's. `last`: the packet number used last."""
        self._cipher_of = cipher_of
        self._number = number
        self._key = key
        self._last = last
        self._cipher = cipher_of(last >> GENERATION)

    def seal(self, frame: memoryview, room: int) -> bytearray:
        """The packets one after the other, each of `room` content bytes but the last. Raises Dropped for a frame of too many."""
        size = len(frame)
        final = max(size - 1, 0) // room
        if final >= MOST_PARTS:
            raise Dropped("too large")
        packets, number = bytearray(), self._last
        cipher = self._cipher
        for part in range(final + 1):
            number += 1
            if not number & ((1 << GENERATION) - 1):
                cipher = self._cipher = self._cipher_of(number >> GENERATION)
            header = HEADER.pack(FRAME, part if part < final else part | LAST, self._number, self._key, number)
            packets += header
            packets += cipher.aead.encrypt(cipher.salt + header[8:], frame[part * room : (part + 1) * room], header)
        self._last = number
        return packets


class Incoming:
    """Opens what one sender sealed under one of the cluster's keys."""

    def __init__(self, cipher_of: CipherOf) -> None:
        self._cipher_of = cipher_of
        self._generation = 0
        self._cipher = cipher_of(0)
        """Of the generation that the last packet was of."""
        self._window = ReplayWindow()
        self._torn: OrderedDict[int, _Torn] = OrderedDict()
        """By the number of their first part."""

    def open(self, packet: memoryview, place: int, number: int) -> bytes | None:
        """The frame; None while parts of it are missing. The packet with what its header says of part and number. Raises Dropped."""
        if not self._window.is_fresh(number):
            raise Dropped("replayed")
        if number >> GENERATION != self._generation:
            self._turn(number >> GENERATION)
        header = packet[: HEADER.size]
        try:
            content = self._cipher.aead.decrypt(self._cipher.salt + header[8:], packet[HEADER.size :], header)
        except InvalidTag:
            raise Dropped("forged") from None
        self._window.accept(number)
        return content if place == LAST else self._join(number, place, content)

    def _turn(self, generation: int) -> None:
        """Packets on either side of a change of keys may come in turns; no sender gets further, so nothing is worked out for that."""
        if abs(generation - (self._window.top >> GENERATION)) > 1:
            raise Dropped("forged")
        self._generation, self._cipher = generation, self._cipher_of(generation)

    def _join(self, number: int, place: int, content: bytes) -> bytes | None:
        part = place & ~LAST
        torn = self._torn.get(number - part)
        if torn is None:
            torn = self._torn[number - part] = _Torn()
            if len(self._torn) > _MOST_TORN:
                self._torn.popitem(last=False)
        torn.parts[part] = content
        if place & LAST:
            torn.count = part + 1
        if len(torn.parts) != torn.count:
            return None
        del self._torn[number - part]
        return b"".join(torn.parts[part] for part in range(torn.count))


class _Torn:
    """A frame of which parts are missing."""

    __slots__ = ("count", "parts")

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.count = 0
        """0 while the last part is missing."""
