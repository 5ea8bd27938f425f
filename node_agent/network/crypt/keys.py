"""From the cluster's keys to those that packets are sealed with. Pure.

The ring has the former key, the present one and the next one. What is sent is sealed with the present one; what comes is opened with any
of them. So a node that is told of a rotation late, or early, loses nothing: who is one step ahead uses a key that it has as the next one.
"""

from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cluster.api.endpoint import DataKey
from cluster.api.ids import Id

_SALT = 4
"""Bytes of a nonce that are drawn with the key, as in RFC 4106; the other eight are the packet's number."""


class KeyRing:
    def __init__(self, keys: Iterable[DataKey] = ()) -> None:
        self.keys = {one.id: one.key for one in sorted(keys, key=lambda one: one.id)}

    @property
    def present(self) -> int:
        """The id of the key to seal with; 0 while there is none."""
        ids = list(self.keys)
        return ids[-2] if len(ids) > 1 else ids[0] if ids else 0

    def follows(self, before: "KeyRing") -> bool:
        """Whether it goes on from there: a key in common, and none that was in use, went and came back (as from a backup), or packet
        numbers used under it would be used again.
        """
        newest = max(before.keys, default=0)
        common = {one: key for one, key in self.keys.items() if one <= newest}
        return bool(common) and self.present >= before.present and all(key == before.keys.get(one) for one, key in common.items())


def derive(key: bytes, purpose: str, *, sender: Id, receiver: Id, salt: bytes, length: int) -> bytes:
    """HKDF (RFC 5869): another key for each purpose, direction and salt."""
    info = f"shoal data plane 1\0{purpose}\0{sender}\0{receiver}".encode()
    return HKDF(SHA256(), length, salt, info).derive(key)


class Cipher:
    """AES-256-GCM for one direction between two processes, and 2^32 packets at most."""

    __slots__ = ("aead", "salt")

    def __init__(self, key: bytes, *, sender: Id, receiver: Id, epochs: bytes, generation: int) -> None:
        """`epochs`: the sender's and the receiver's, so that neither's restart ever brings a key back."""
        secret = derive(key, f"packets {generation}", sender=sender, receiver=receiver, salt=epochs, length=32 + _SALT)
        self.aead = AESGCM(secret[:32])
        self.salt = secret[32:]
