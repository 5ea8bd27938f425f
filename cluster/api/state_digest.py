"""One number for a whole state: managers at the same index that tell another one have gone apart. Pure.

The store's frames hold sets whose order differs from manager to manager (manager.store.tables), and are cut where one is full; so what is
in them is digested piece by piece, and the pieces' digests in order.
"""

import hashlib
from collections.abc import Iterator

import msgspec

_canonical = msgspec.msgpack.Encoder(order="sorted")


class StateDigest:
    """Give it all frames of a snapshot."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def take(self, frame: bytes) -> None:
        """Raises msgspec.DecodeError for what is no frame of a store."""
        for piece in _pieces(msgspec.msgpack.decode(frame, type=dict[str, object])):
            self._pieces.append(hashlib.sha256(_canonical.encode(piece)).digest())

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(sorted(self._pieces))).hexdigest()


def _pieces(frame: dict[str, object]) -> Iterator[tuple[str, object]]:
    lists = {name: value for name, value in frame.items() if isinstance(value, list)}
    if not lists:
        yield "", frame
    for name, items in lists.items():
        for item in items:
            yield name, item
