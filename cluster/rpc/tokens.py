"""Join tokens: `SWMTKN-1-<digest of the root certificate>-<secret>`, as Swarm's. Pure.

The digest lets a joining node check the cluster's root before it sends the secret; the secret says which role it may have.
"""

import hashlib
import hmac

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from cluster.api.errors import InvalidArgument

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGEST_LENGTH = 50
_SECRET_LENGTH = 25


class JoinToken(Struct, frozen=True):
    digest: str
    """Base 36 of the SHA-256 of the root certificate's DER, 50 characters."""
    secret: str

    def __str__(self) -> str:
        return f"SWMTKN-1-{self.digest}-{self.secret}"


def base36(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def ca_digest(root_pem: str) -> str:
    """The digest part for a root certificate (PEM; of a bundle, the first)."""
    der = x509.load_pem_x509_certificate(root_pem.encode()).public_bytes(Encoding.DER)
    return base36(int.from_bytes(hashlib.sha256(der).digest(), "big"), _DIGEST_LENGTH)


def root_of(token: JoinToken, bundle_pem: str) -> str | None:
    """The one root of the bundle (PEM) that the token names."""
    end = "-----END CERTIFICATE-----\n"
    for part in bundle_pem.split(end)[:-1]:
        try:
            if ca_digest(part + end) == token.digest:
                return part + end
        except ValueError:
            continue
    return None


def secret_from(random: bytes) -> str:
    """The secret part from 16 random bytes."""
    return base36(int.from_bytes(random[:16], "big"), _SECRET_LENGTH)


def parse(text: str) -> JoinToken:
    """Raises InvalidArgument with what is wrong, without repeating the secret."""
    parts = text.strip().split("-")
    if len(parts) != 4 or parts[0] != "SWMTKN" or parts[1] != "1":
        raise InvalidArgument("invalid join token: it must read SWMTKN-1-<digest>-<secret>; print one with: shoal swarm join-token worker")
    digest, secret = parts[2], parts[3]
    if len(digest) != _DIGEST_LENGTH or len(secret) != _SECRET_LENGTH or set(digest + secret) - set(_ALPHABET):
        raise InvalidArgument("invalid join token: part of it is missing or changed; print it again with: shoal swarm join-token worker")
    return JoinToken(digest, secret)


def same_secret(given: str, token: str) -> bool:
    """Whether `given` is the secret of the token (text), in constant time."""
    return bool(token) and hmac.compare_digest(given.encode(), token.rsplit("-", 1)[-1].encode())
