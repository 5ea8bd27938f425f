"""How records are sealed: AES-256-GCM, which is the checksum too. Each record is bound to its place and its cluster.

A nonce is 6 random bytes drawn when the storage is opened and a 6-byte counter, so one key serves for 2^48 records a start,
and a disk put back from a backup does not repeat nonces.
"""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_COUNTER = struct.Struct(">Q")
_PLACE = struct.Struct(">QQQ")
NONCE_SIZE = 12
KEY_SIZE = 32


class SealBroken(Exception):
    """The record is not what was sealed at this place with this key."""


class Sealer:
    """Seals and opens records of one cluster with one key."""

    def __init__(self, key: bytes, cluster: str) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a data key has {KEY_SIZE} bytes, this one has {len(key)}")
        self._aead = AESGCM(key)
        self._cluster = cluster.encode()
        self._prefix = os.urandom(6)
        self._count = 0

    def seal(self, kind: bytes, place: tuple[int, int, int], record: bytes) -> bytes:
        self._count += 1
        nonce = self._prefix + _COUNTER.pack(self._count)[2:]
        return nonce + self._aead.encrypt(nonce, record, self._associated(kind, place))

    def open(self, kind: bytes, place: tuple[int, int, int], sealed: bytes) -> bytes:
        try:
            return self._aead.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], self._associated(kind, place))
        except (InvalidTag, ValueError) as broken:
            raise SealBroken(f"{kind.decode()} {place}") from broken

    def _associated(self, kind: bytes, place: tuple[int, int, int]) -> bytes:
        return kind + _PLACE.pack(*place) + self._cluster
