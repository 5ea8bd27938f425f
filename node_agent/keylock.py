r"""Locking a manager's keys (autolock): what is sealed how. Pure but for the salts and nonces.

    lock          the local key, sealed with the swarm's unlock key
    node.key      the node's private key        \  sealed with the local key while there is a lock,
    raft.key      the data key of the log       /  in the clear otherwise

The local key is drawn when the lock is made. So another unlock key is one small file put in the place of another, and what is under
the lock stays as it is: there is no moment at which two keys would be needed.
"""

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cluster.api.errors import Unauthorized

PREFIX = "SWMKEY-1-"
KEY_SIZE = 32
_MAGIC = b"SHOAL-SEALED-1\n"
_SALT, _NONCE = 16, 12


class WrongUnlockKey(Unauthorized):
    """The key is not the one that this manager was locked with."""

    def __init__(self) -> None:
        super().__init__("swarm could not be unlocked: invalid key provided")


def unlock_key(random: bytes) -> str:
    """The text of an unlock key, from 32 random bytes."""
    return PREFIX + base64.b64encode(random[:KEY_SIZE]).decode().rstrip("=")


def parse(text: str) -> bytes:
    """The bytes of an unlock key. Raises WrongUnlockKey for what is none."""
    text = text.strip()
    body = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        raise WrongUnlockKey from None
    if not text.startswith(PREFIX) or len(key) != KEY_SIZE:
        raise WrongUnlockKey
    return key


def is_sealed(content: bytes) -> bool:
    return content.startswith(_MAGIC)


def seal(secret: bytes, key: bytes, name: str, *, random: bytes) -> bytes:
    """`name` says which file it is for, so that no sealed file passes for another; `random`: 28 fresh bytes."""
    salt, nonce = random[:_SALT], random[_SALT : _SALT + _NONCE]
    return _MAGIC + salt + nonce + AESGCM(_derived(key, salt)).encrypt(nonce, secret, name.encode())


def unseal(content: bytes, key: bytes, name: str) -> bytes:
    """Raises WrongUnlockKey if it does not open with this key."""
    body = content[len(_MAGIC) :]
    salt, nonce, sealed = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        return AESGCM(_derived(key, salt)).decrypt(nonce, sealed, name.encode())
    except (InvalidTag, ValueError):
        raise WrongUnlockKey from None


def _derived(key: bytes, salt: bytes) -> bytes:
    """An unlock key is 256 random bits, so it needs no slow function against guessing."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"shoal autolock").derive(key)
