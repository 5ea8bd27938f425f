"""The log on disk: LMDB, one transaction and one sync a batch, each value sealed with its place (see docs/design/raft.md).

    b"e" + index  ->  term (8 bytes) sealed(entry)         the entries base + 1 .. last
    b"key"        ->  sealed(a constant)                   tells a wrong key from damage
    b"tip"        ->  sealed(Tip)                          all else; rewritten in every transaction

The tip names the transaction that wrote it. LMDB itself has no checksums: were a root or header page damaged so that it pointed
to an older tree, that tree's tip would name another transaction, and `load` would refuse it.
"""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import lmdb
import msgspec

from manager.raft.core.entries import Entry, HardState, SnapshotMeta, Stored
from manager.raft.errors import StorageDamaged, StorageFailed, StorageFull, WrongKey
from manager.raft.ports import SnapshotSink
from manager.raft.sealing import SealBroken, Sealer
from manager.raft.snapshot_files import FileReader, FileSink, sync_folder

_U64 = struct.Struct(">Q")
_TIP, _KEY, _KEY_CHECK = b"tip", b"key", b"this key opens this log"
_NOWHERE = (0, 0, 0)
DEFAULT_MAP_SIZE = 1024 * 1024 * 1024
COMPACTION_RESERVE = 16 * 1024 * 1024
_LITTLE_ROOM = 1024 * 1024


class Tip(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What there is beside the entries."""

    transaction: int
    hard: HardState
    base_index: int
    base_term: int
    last_index: int
    commit: int
    snapshot: SnapshotMeta
    snapshot_file: str
    snapshot_count: int


_EMPTY = Tip(
    transaction=0, hard=HardState(), base_index=0, base_term=0, last_index=0, commit=0, snapshot=SnapshotMeta(), snapshot_file="",
    snapshot_count=0,
)  # fmt: skip
_encoder = msgspec.msgpack.Encoder()
_entry_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
_tip_decoder = msgspec.msgpack.Decoder(Tip)


def _key(index: int) -> bytes:
    return b"e" + _U64.pack(index)


class LmdbStorage:
    """The `Storage` of a real member. Open it through `manager.raft.opening`, which checks it in a child process first."""

    def __init__(self, path: Path, *, key: bytes, cluster: str, map_size: int = DEFAULT_MAP_SIZE, read_only: bool = False) -> None:
        self.path = path
        self._sealer = Sealer(key, cluster)
        self._map_size = map_size
        self._snapshots = path / "snapshots"
        if not read_only:
            for folder in (path, path / "log", self._snapshots):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(path)
        try:
            self._env = lmdb.open(
                str(path / "log"), map_size=map_size, readonly=read_only, lock=not read_only, readahead=False, max_readers=8, mode=0o600
            )
        except lmdb.Error as failed:
            raise StorageDamaged(path, str(failed)) from failed
        try:
            self._tip = self._read_tip()
            if not read_only:
                self._remove_orphans()
        except BaseException:
            self._env.close()
            raise
        self._staged: list[tuple[int, bytes]] = []
        self._staged_hard = self._tip.hard
        self._staged_commit = self._tip.commit
        self._staged_last = self._tip.last_index
        self._is_staged = False

    # Reading

    def load(self) -> Stored:
        """Read, open and check every entry."""
        tip = self._read_tip()
        entries: list[Entry] = []
        with self._env.begin() as txn:
            for name, value in txn.cursor():
                if name in (_TIP, _KEY):
                    continue
                entries.append(self._open_entry(tip.base_index + 1 + len(entries), name, value))
        if tip.base_index + len(entries) != tip.last_index:
            raise StorageDamaged(self.path, f"the log should end at entry {tip.last_index}, but ends at {tip.base_index + len(entries)}")
        return Stored(
            hard=tip.hard, snapshot=tip.snapshot, base_index=tip.base_index, base_term=tip.base_term, entries=tuple(entries),
            commit=min(tip.commit, tip.last_index),
        )  # fmt: skip

    def _open_entry(self, index: int, name: bytes, value: bytes) -> Entry:
        if name != _key(index):
            raise StorageDamaged(self.path, f"entry {index} is missing from the log")
        try:
            term = _U64.unpack_from(value)[0]
            entry = _entry_decoder.decode(self._sealer.open(b"entry", (index, term, 0), value[_U64.size :]))
        except (SealBroken, struct.error, msgspec.MsgspecError) as broken:
            raise StorageDamaged(self.path, f"entry {index} of the log is not what was written") from broken
        if (entry.index, entry.term) != (index, term):
            raise StorageDamaged(self.path, f"entry {index} of the log says it is entry {entry.index}")
        return entry

    def _read_tip(self) -> Tip:
        try:
            with self._env.begin() as txn:
                sealed, check = txn.get(_TIP), txn.get(_KEY)
            if sealed is None or check is None:
                if self._env.stat()["entries"]:
                    raise StorageDamaged(self.path, "the log's head record is missing")
                return _EMPTY
            if not self._opens(_KEY, check) and not self._opens(_TIP, sealed):
                raise WrongKey(self.path)
            self._sealer.open(_KEY, _NOWHERE, check)
            tip = _tip_decoder.decode(self._sealer.open(_TIP, _NOWHERE, sealed))
        except SealBroken as broken:
            raise StorageDamaged(self.path, "the log's head record is not what was written") from broken
        except (lmdb.Error, msgspec.MsgspecError) as broken:
            raise StorageDamaged(self.path, str(broken)) from broken
        if tip.transaction != self._env.info()["last_txnid"]:
            raise StorageDamaged(
                self.path, f"its newest state is of transaction {self._env.info()['last_txnid']}, but says {tip.transaction}"
            )
        return tip

    def _opens(self, kind: bytes, sealed: bytes) -> bool:
        try:
            self._sealer.open(kind, _NOWHERE, sealed)
        except SealBroken:
            return False
        return True

    # Writing

    def write(self, hard: HardState | None, entries: Sequence[Entry], commit: int) -> None:
        for entry in entries:
            sealed = self._sealer.seal(b"entry", (entry.index, entry.term, 0), _encoder.encode(entry))
            self._staged.append((entry.index, _U64.pack(entry.term) + sealed))
        if entries:
            self._staged_last = entries[-1].index
        if hard is not None:
            self._staged_hard = hard
        self._staged_commit = max(self._staged_commit, commit)
        self._is_staged = True

    def sync(self) -> None:
        if not self._is_staged:
            return
        changes = {"hard": self._staged_hard, "last_index": self._staged_last, "commit": min(self._staged_commit, self._staged_last)}
        self._commit(self._tip, changes, puts=self._staged)
        self._staged = []
        self._is_staged = False

    def _commit(self, tip: Tip, changes: dict[str, object], *, puts: Sequence[tuple[int, bytes]] = (), deletes: range = range(0)) -> None:
        """One transaction: the entries, what they replace, and the tip."""
        try:
            self._tip = self._transact(tip, changes, puts, deletes)
        except lmdb.MapFullError as full:
            raise StorageFull(self.path, f"the limit of {self._map_size >> 20} MiB is reached") from full
        except lmdb.Error as failed:
            raise self._named(failed) from failed

    def _transact(self, tip: Tip, changes: dict[str, object], puts: Sequence[tuple[int, bytes]], deletes: range) -> Tip:
        last = tip.last_index
        with self._env.begin(write=True) as txn:
            for index, value in puts:
                txn.put(_key(index), value)
                if index <= last:  # a conflict: what followed the replaced entry goes too
                    for stale in range(index + 1, last + 1):
                        txn.delete(_key(stale))
                last = index
            for index in deletes:
                txn.delete(_key(index))
            new = msgspec.structs.replace(tip, transaction=txn.id(), **changes)
            txn.put(_TIP, self._sealer.seal(_TIP, _NOWHERE, _encoder.encode(new)))
            if tip is _EMPTY:
                txn.put(_KEY, self._sealer.seal(_KEY, _NOWHERE, _KEY_CHECK))
        return new

    def _named(self, failed: lmdb.Error) -> StorageFull | StorageFailed:
        """A full disk is told from a broken one. LMDB's word for a write that a full disk cut short is an input/output error."""
        said = str(failed)
        is_cut_short = os.strerror(errno.EIO) in said and not self._has_room()
        if isinstance(failed, lmdb.DiskError) or os.strerror(errno.EDQUOT) in said or is_cut_short:
            return StorageFull(self.path, said)
        return StorageFailed(self.path, said)

    def _has_room(self) -> bool:
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize >= _LITTLE_ROOM

    # Snapshots

    def begin_snapshot(self, snapshot: SnapshotMeta) -> FileSink:
        name = f"{snapshot.index}-{snapshot.term}-{os.urandom(4).hex()}"
        return FileSink(self._snapshots, name, snapshot, self._sealer)

    def save_snapshot(self, sink: SnapshotSink, keep_from: int) -> None:
        sink = self._finished(sink)
        tip = self._tip
        if sink.snapshot.index <= tip.snapshot.index or sink.snapshot.index > tip.last_index:
            sink.discard()  # the leader's newer one was installed meanwhile
            return
        first = max(min(keep_from, sink.snapshot.index + 1), tip.base_index + 1)
        changes = self._in_force(sink) | {"base_index": first - 1, "base_term": self._term_of(first - 1)}
        self._commit_freeing(tip, changes, range(tip.base_index + 1, first))

    def install_snapshot(self, sink: SnapshotSink, hard: HardState | None) -> None:
        sink = self._finished(sink)
        tip, snapshot = self._tip, sink.snapshot
        self._staged_hard = hard or self._staged_hard
        self._staged_last = self._staged_commit = snapshot.index
        changes = self._in_force(sink) | {
            "hard": self._staged_hard, "base_index": snapshot.index, "base_term": snapshot.term, "last_index": snapshot.index,
            "commit": snapshot.index,
        }  # fmt: skip
        self._commit_freeing(tip, changes, range(tip.base_index + 1, tip.last_index + 1))

    def _commit_freeing(self, old: Tip, changes: dict[str, object], deletes: range) -> None:
        """Put a snapshot in force, and make the pages it frees usable: LMDB reuses them from the second transaction after on."""
        self._commit_beyond_limit(old, changes, deletes)
        self._commit_beyond_limit(self._tip, {}, range(0))
        if old.snapshot_file:
            (self._snapshots / old.snapshot_file).unlink(missing_ok=True)

    def _commit_beyond_limit(self, tip: Tip, changes: dict[str, object], deletes: range) -> None:
        """Deleting needs pages too: a log at its limit may pass it a little for this alone, or it would stay full."""
        try:
            self._commit(tip, changes, deletes=deletes)
        except StorageFull:
            self._env.set_mapsize(self._map_size + COMPACTION_RESERVE)
            self._commit(tip, changes, deletes=deletes)

    def _finished(self, sink: SnapshotSink) -> FileSink:
        if not isinstance(sink, FileSink):
            raise TypeError("a snapshot is saved by the storage that began it")
        sink.finish()
        return sink

    def _in_force(self, sink: FileSink) -> dict[str, object]:
        return {"snapshot": sink.snapshot, "snapshot_file": sink.path.name, "snapshot_count": sink.count}

    def _term_of(self, index: int) -> int:
        if index == self._tip.base_index:
            return self._tip.base_term
        with self._env.begin() as txn:
            value = txn.get(_key(index))
        if value is None:
            raise StorageDamaged(self.path, f"entry {index} is missing from the log")
        return int(_U64.unpack_from(value)[0])

    def open_snapshot(self) -> FileReader | None:
        """May be called beside the writing: a newer snapshot may take the place of one just as it is opened."""
        while (tip := self._tip).snapshot_file:
            try:
                return FileReader(self._snapshots / tip.snapshot_file, tip.snapshot, tip.snapshot_count, self._sealer)
            except StorageDamaged:
                if tip.snapshot_file == self._tip.snapshot_file:
                    raise
        return None

    def _remove_orphans(self) -> None:
        """Files that a crash left unfinished, or unneeded."""
        for file in self._snapshots.iterdir():
            if file.name != self._tip.snapshot_file:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        self._env.close()
