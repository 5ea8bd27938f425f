"""Snapshots on disk: one file each, chunk by chunk, sealed; the storage's record says which one is in force.

    chunk := length (4 bytes) sealed(chunk)        place: (index, term, number), the last chunk under another kind

A file grows under a name of its own and is only named by the record once it is whole and synced, so a crash leaves at most a
file that nobody refers to, which the next start removes.
"""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from manager.raft.core.entries import SnapshotMeta
from manager.raft.errors import StorageDamaged, StorageFailed, StorageFull
from manager.raft.sealing import SealBroken, Sealer

_LENGTH = struct.Struct(">I")
_CHUNK, _LAST = b"chunk", b"last"
MAX_CHUNK = 4 * 1024 * 1024


class FileSink:
    """Writes one snapshot. The last chunk is held back until `finish`, to be marked as the last."""

    def __init__(self, folder: Path, name: str, snapshot: SnapshotMeta, sealer: Sealer) -> None:
        self.path = folder / name
        self.snapshot = snapshot
        self.count = 0
        self._sealer = sealer
        self._held: bytes | None = None
        self.path.touch(mode=0o600)

    def add(self, chunk: bytes) -> None:
        if self._held is not None:
            self._write(_CHUNK, self._held)
        self._held = chunk

    def finish(self) -> None:
        """All of it is on the disk after this, its name included."""
        self._write(_LAST, self._held or b"")
        self._held = None
        sync_folder(self.path.parent)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def _write(self, kind: bytes, chunk: bytes) -> None:
        """Synced chunk by chunk, so that a big snapshot never holds up the log's next sync for long."""
        sealed = self._sealer.seal(kind, (self.snapshot.index, self.snapshot.term, self.count), chunk)
        try:
            with self.path.open("ab") as file:
                file.write(_LENGTH.pack(len(sealed)) + sealed)
                file.flush()
                os.fdatasync(file.fileno())
        except OSError as failed:
            if failed.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(self.path.parent, "snapshot") from failed
            raise StorageFailed(self.path, str(failed)) from failed
        self.count += 1


class FileReader:
    """Reads one snapshot. The open file outlives its name, so a newer snapshot does not pull it away."""

    def __init__(self, path: Path, snapshot: SnapshotMeta, count: int, sealer: Sealer) -> None:
        self.snapshot = snapshot
        self.count = count
        self._path = path
        self._sealer = sealer
        try:
            self._file = path.open("rb")
        except FileNotFoundError as missing:
            raise StorageDamaged(path, "the snapshot file is missing") from missing
        try:
            self._places = list(self._find_places())
        except StorageDamaged:
            self._file.close()
            raise

    def _find_places(self) -> Iterator[tuple[int, int]]:
        size, at = os.fstat(self._file.fileno()).st_size, 0
        for _ in range(self.count):
            header = os.pread(self._file.fileno(), _LENGTH.size, at)
            length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else 0
            at += _LENGTH.size
            if not 0 < length <= MAX_CHUNK + 64 or at + length > size:
                raise StorageDamaged(self._path, f"the snapshot ends or is garbled at byte {at}")
            yield at, length
            at += length
        if at != size:
            raise StorageDamaged(self._path, f"the snapshot has {size - at} bytes too many")

    def read(self, number: int) -> bytes:
        at, length = self._places[number]
        kind = _LAST if number == self.count - 1 else _CHUNK
        try:
            sealed = os.pread(self._file.fileno(), length, at)
            return self._sealer.open(kind, (self.snapshot.index, self.snapshot.term, number), sealed)
        except SealBroken as broken:
            raise StorageDamaged(self._path, f"chunk {number} of the snapshot is not what was written") from broken

    def close(self) -> None:
        self._file.close()


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
