"""The `Storage` without a disk: for tests and simulations, with a disk's forgetfulness. `crash` loses all that was not synced."""

from collections.abc import Sequence

import msgspec

from manager.raft.core.entries import Entry, HardState, SnapshotMeta, Stored
from manager.raft.errors import StorageFull
from manager.raft.ports import SnapshotSink


class MemorySink:
    """A snapshot being written to memory."""

    def __init__(self, snapshot: SnapshotMeta) -> None:
        self.snapshot = snapshot
        self.chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def discard(self) -> None:
        self.chunks = []


class MemoryReader:
    """A saved snapshot."""

    def __init__(self, snapshot: SnapshotMeta, chunks: tuple[bytes, ...]) -> None:
        self.snapshot = snapshot
        self._chunks = chunks

    @property
    def count(self) -> int:
        return len(self._chunks)

    def read(self, number: int) -> bytes:
        return self._chunks[number]

    def close(self) -> None:
        pass


class MemoryStorage:
    """What is durable is in one frozen value; what is staged is beside it."""

    def __init__(self, *, max_entries: int | None = None) -> None:
        self.max_entries = max_entries
        self._durable = Stored()
        self._chunks: tuple[bytes, ...] | None = None
        self._staged: Stored | None = None

    def load(self) -> Stored:
        return self._durable

    def write(self, hard: HardState | None, entries: Sequence[Entry], commit: int) -> None:
        now = self._staged or self._durable
        if entries:
            kept = now.entries[: entries[0].index - now.base_index - 1]
            now = msgspec.structs.replace(now, entries=kept + tuple(entries))
        last = now.base_index + len(now.entries)
        self._staged = msgspec.structs.replace(now, hard=hard or now.hard, commit=min(max(now.commit, commit), last))

    def sync(self) -> None:
        if self._staged is None:
            return
        if self.max_entries is not None and len(self._staged.entries) > self.max_entries:
            raise StorageFull("memory", f"the limit of {self.max_entries} entries is reached")
        self._durable, self._staged = self._staged, None

    def crash(self) -> None:
        """The power fails."""
        self._staged = None

    def begin_snapshot(self, snapshot: SnapshotMeta) -> MemorySink:
        return MemorySink(snapshot)

    def save_snapshot(self, sink: SnapshotSink, keep_from: int) -> None:
        if not isinstance(sink, MemorySink):
            raise TypeError("a snapshot is saved by the storage that began it")
        now, snapshot = self._durable, sink.snapshot
        if snapshot.index <= now.snapshot.index or snapshot.index > now.base_index + len(now.entries):
            return
        self._chunks = tuple(sink.chunks)
        self._durable = _compacted(now, snapshot, keep_from)
        if self._staged is not None:
            self._staged = _compacted(self._staged, snapshot, keep_from)

    def install_snapshot(self, sink: SnapshotSink, hard: HardState | None) -> None:
        if not isinstance(sink, MemorySink):
            raise TypeError("a snapshot is saved by the storage that began it")
        self._chunks = tuple(sink.chunks)
        snapshot = sink.snapshot
        self._durable = Stored(
            hard=hard or (self._staged or self._durable).hard, snapshot=snapshot, base_index=snapshot.index, base_term=snapshot.term,
            commit=snapshot.index,
        )  # fmt: skip
        self._staged = None

    def open_snapshot(self) -> MemoryReader | None:
        if self._chunks is None:
            return None
        return MemoryReader(self._durable.snapshot, self._chunks)

    def close(self) -> None:
        pass


def _compacted(now: Stored, snapshot: SnapshotMeta, keep_from: int) -> Stored:
    base = max(min(keep_from, snapshot.index + 1) - 1, now.base_index)
    gone = base - now.base_index
    base_term = now.entries[gone - 1].term if gone else now.base_term
    return msgspec.structs.replace(now, snapshot=snapshot, base_index=base, base_term=base_term, entries=now.entries[gone:])
