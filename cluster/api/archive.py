r"""A snapshot of the cluster as a file: what `shoal cluster snapshot save` keeps and `shoald restore` takes. Pure.

    SHOAL SNAPSHOT 1 \n  manifest, one line of JSON \n  (length, 4 bytes, big-endian  frame)*  0000  SHA-256 of all before it

The frames are the store's own (manager.store.frames); the digest tells a copy that was cut short or damaged from a whole one.
It holds every secret of the cluster, its CA's key among them, in the clear: whoever can read it owns the cluster.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from cluster.api.errors import InvalidArgument

MAGIC = b"SHOAL SNAPSHOT 1\n"
_ANY = b"SHOAL SNAPSHOT "
_LONGEST_LINE = 64 * 1024
_LARGEST_FRAME = 64 * 1024 * 1024

Read = Callable[[int], bytes]
"""Gives at most so many of the next bytes, none at the end: a file's `read`."""


class DamagedArchive(InvalidArgument):
    """The file is no snapshot, or not all of one."""


class Manifest(NamedTuple):
    """What is in the file, readable without the rest of it."""

    cluster_id: str
    created: str
    """RFC 3339, UTC."""
    product: str
    """The version of Shoal that wrote it."""
    raft_index: int
    """Of the state."""
    feature_level: int
    counts: dict[str, int]
    """How many of each kind: managers, workers, services, tasks, networks, secrets, configs."""


def written(manifest: Manifest, frames: Iterable[bytes]) -> Iterator[bytes]:
    """The file's bytes, piece by piece; a frame is taken only when its turn comes."""
    digest = hashlib.sha256()
    for piece in _pieces(manifest, frames):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _pieces(manifest: Manifest, frames: Iterable[bytes]) -> Iterator[bytes]:
    yield MAGIC
    yield json.dumps(manifest._asdict()).encode() + b"\n"
    for frame in frames:
        yield len(frame).to_bytes(4, "big")
        yield frame
    yield bytes(4)


class Reader:
    """Reads one archive from its beginning: first the manifest, then `frames`. Raises DamagedArchive."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._digest = hashlib.sha256()
        self.size = 0
        magic = self._take(len(MAGIC))
        if magic != MAGIC:
            if magic.startswith(_ANY):
                raise DamagedArchive("the snapshot is of a newer Shoal: use that version")
            raise DamagedArchive("this is no snapshot of a Shoal cluster")
        self.manifest = self._manifest()

    def frames(self) -> Iterator[bytes]:
        """All of them. Only after the last one, when this ends without an error, is it known that they are what was written."""
        while size := int.from_bytes(self._take(4), "big"):
            if size > _LARGEST_FRAME:
                raise DamagedArchive(f"the snapshot is damaged at byte {self.size}")
            yield self._take(size)
        expected = self._digest.digest()
        if self._take(len(expected)) != expected or self._read(1):
            raise DamagedArchive("the snapshot is damaged: its digest does not fit")

    def _manifest(self) -> Manifest:
        line = bytearray()
        while (byte := self._take(1)) != b"\n":
            line += byte
            if len(line) > _LONGEST_LINE:
                raise DamagedArchive("the snapshot's manifest is damaged")
        try:
            return _manifest_of(json.loads(line))
        except (ValueError, KeyError, TypeError) as wrong:
            raise DamagedArchive("the snapshot's manifest is damaged") from wrong

    def _take(self, size: int) -> bytes:
        found = self._read(size)
        while len(found) < size:
            more = self._read(size - len(found))
            if not more:
                raise DamagedArchive(f"the snapshot is not whole: it ends after {self.size + len(found)} bytes")
            found += more
        self._digest.update(found)
        self.size += size
        return found


def _manifest_of(shown: dict[str, Any]) -> Manifest:
    """Members that a later version adds are passed over."""
    return Manifest(
        cluster_id=str(shown["cluster_id"]),
        created=str(shown["created"]),
        product=str(shown["product"]),
        raft_index=int(shown["raft_index"]),
        feature_level=int(shown["feature_level"]),
        counts={str(name): int(count) for name, count in shown["counts"].items()},
    )
