"""One contract, two disks: the LMDB storage and its in-memory twin keep the same promises."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager.raft.core.entries import Command, Configure, Entry, HardState, SnapshotMeta
from manager.raft.core.membership import Member, MemberId, Membership
from manager.raft.errors import StorageDamaged, StorageFull, WrongKey
from manager.raft.memory import MemoryStorage
from manager.raft.ports import Storage
from manager.raft.snapshot_files import FileSink
from manager.raft.storage import LmdbStorage

KEY = bytes(range(32))
MEMBERS = Membership(members=(Member(id=MemberId("a"), address="a:1"),))


def entries(first: int, last: int, *, term: int = 1) -> list[Entry]:
    return [Command(index=index, term=term, payload=b"payload %d" % index) for index in range(first, last + 1)]


class Disk:
    """A storage and the means to lose power."""

    def __init__(self, open_it: Callable[[], Storage]) -> None:
        self._open = open_it
        self.storage = open_it()

    def crash(self) -> Storage:
        if isinstance(self.storage, MemoryStorage):
            self.storage.crash()
        else:
            self.storage.close()
            self.storage = self._open()
        return self.storage


@pytest.fixture(params=["memory", "lmdb"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield Disk(MemoryStorage)
        return
    opened = Disk(lambda: LmdbStorage(tmp_path / "raft", key=KEY, cluster="c"))
    yield opened
    opened.storage.close()


def test_a_new_storage_is_empty(disk: Disk) -> None:
    assert disk.storage.load().is_empty


def test_what_was_synced_survives_a_crash_and_nothing_else(disk: Disk) -> None:
    disk.storage.write(HardState(term=1, vote=MemberId("a")), entries(1, 3), 2)
    disk.storage.sync()
    disk.storage.write(HardState(term=2), entries(4, 5), 4)
    stored = disk.crash().load()
    assert stored.hard == HardState(term=1, vote=MemberId("a"))
    assert list(stored.entries) == entries(1, 3)
    assert stored.commit == 2


def test_every_kind_of_entry_comes_back_as_it_was(disk: Disk) -> None:
    written: list[Entry] = [Configure(index=1, term=1, membership=MEMBERS), *entries(2, 2)]
    disk.storage.write(HardState(term=1), written, 1)
    disk.storage.sync()
    assert list(disk.crash().load().entries) == written


def test_new_entries_replace_all_from_their_first_one_on(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 9), 3)
    disk.storage.sync()
    disk.storage.write(HardState(term=2), entries(5, 6, term=2), 3)
    disk.storage.sync()
    assert list(disk.crash().load().entries) == entries(1, 4) + entries(5, 6, term=2)


def test_a_batch_may_replace_what_it_brought_itself(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 9), 0)
    disk.storage.write(None, entries(3, 4, term=2), 0)
    disk.storage.write(None, entries(5, 5, term=3), 0)
    disk.storage.sync()
    assert list(disk.crash().load().entries) == entries(1, 2) + entries(3, 4, term=2) + entries(5, 5, term=3)


def test_the_commit_hint_never_points_past_the_log(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 2), 7)
    disk.storage.sync()
    assert disk.crash().load().commit == 2


def save(storage: Storage, index: int, *, keep_from: int, chunks: tuple[bytes, ...] = (b"one", b"two")) -> None:
    sink = storage.begin_snapshot(SnapshotMeta(index=index, term=1, membership=MEMBERS))
    for chunk in chunks:
        sink.add(chunk)
    storage.save_snapshot(sink, keep_from)


def chunks_of(storage: Storage) -> list[bytes]:
    reader = storage.open_snapshot()
    assert reader is not None
    try:
        return [reader.read(number) for number in range(reader.count)]
    finally:
        reader.close()


def test_a_saved_snapshot_replaces_the_log_before_what_is_kept(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 20), 20)
    disk.storage.sync()
    save(disk.storage, 15, keep_from=11)
    stored = disk.crash().load()
    assert (stored.base_index, stored.base_term, stored.snapshot.index, stored.snapshot.membership) == (10, 1, 15, MEMBERS)
    assert list(stored.entries) == entries(11, 20)
    assert chunks_of(disk.storage) == [b"one", b"two"]


def test_a_snapshot_that_is_not_saved_counts_for_nothing(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 5), 5)
    disk.storage.sync()
    disk.storage.begin_snapshot(SnapshotMeta(index=5, term=1)).add(b"half")
    assert disk.crash().open_snapshot() is None


def test_an_older_snapshot_never_replaces_a_newer_one(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 20), 20)
    disk.storage.sync()
    save(disk.storage, 15, keep_from=10, chunks=(b"newer",))
    save(disk.storage, 12, keep_from=12, chunks=(b"older",))
    assert disk.crash().load().snapshot.index == 15
    assert chunks_of(disk.storage) == [b"newer"]


def test_an_installed_snapshot_replaces_the_whole_log(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 5), 2)
    disk.storage.sync()
    sink = disk.storage.begin_snapshot(SnapshotMeta(index=90, term=4, membership=MEMBERS))
    sink.add(b"state")
    disk.storage.install_snapshot(sink, HardState(term=4))
    disk.storage.write(None, entries(91, 92, term=4), 91)
    disk.storage.sync()
    stored = disk.crash().load()
    assert (stored.hard.term, stored.base_index, stored.base_term, stored.commit) == (4, 90, 4, 91)
    assert list(stored.entries) == entries(91, 92, term=4)
    assert chunks_of(disk.storage) == [b"state"]


def test_a_reader_keeps_its_snapshot_when_a_newer_one_is_saved(disk: Disk) -> None:
    disk.storage.write(HardState(term=1), entries(1, 20), 20)
    disk.storage.sync()
    save(disk.storage, 5, keep_from=1, chunks=(b"first",))
    reader = disk.storage.open_snapshot()
    save(disk.storage, 10, keep_from=1, chunks=(b"second",))
    assert reader is not None
    assert reader.read(0) == b"first"
    reader.close()


# What only a disk can do


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    opened = LmdbStorage(tmp_path / "raft", key=KEY, cluster="c", map_size=1024 * 1024)
    yield opened
    opened.close()


def test_a_full_log_refuses_whole_batches_and_keeps_them_staged(storage: LmdbStorage) -> None:
    storage.write(HardState(term=1), entries(1, 10), 10)
    storage.sync()
    big = [Command(index=index, term=1, payload=bytes(10_000)) for index in range(11, 211)]
    storage.write(None, big, 10)
    with pytest.raises(StorageFull):
        storage.sync()
    assert storage.load().entries[-1].index == 10


def fill(storage: LmdbStorage) -> int:
    """Write until it is full; the last entry that had room. One more is staged then."""
    for index in range(1, 1000):
        storage.write(HardState(term=1), [Command(index=index, term=1, payload=bytes(10_000))], index - 1)
        try:
            storage.sync()
        except StorageFull:
            return index - 1
    raise AssertionError("it is never full")


def test_a_full_log_has_room_again_after_a_snapshot(storage: LmdbStorage) -> None:
    last = fill(storage)
    save(storage, last, keep_from=last)
    storage.sync()
    assert [entry.index for entry in storage.load().entries] == [last, last + 1]


def test_nothing_readable_is_on_the_disk(storage: LmdbStorage) -> None:
    storage.write(HardState(term=1), [Command(index=1, term=1, payload=b"a secret that must not be seen")], 1)
    storage.sync()
    save(storage, 1, keep_from=1, chunks=(b"another secret",))
    written = b"".join(file.read_bytes() for file in storage.path.rglob("*") if file.is_file())
    assert b"secret" not in written


def test_only_its_owner_may_read_it(storage: LmdbStorage) -> None:
    assert {folder.stat().st_mode & 0o777 for folder in (storage.path, storage.path / "log", storage.path / "snapshots")} == {0o700}


@pytest.mark.parametrize(("key", "cluster"), [(bytes(32), "c"), (KEY, "another")], ids=["key", "cluster"])
def test_a_wrong_key_or_cluster_is_told_from_damage(tmp_path: Path, key: bytes, cluster: str) -> None:
    first = LmdbStorage(tmp_path / "raft", key=KEY, cluster="c")
    first.write(HardState(term=1), entries(1, 3), 3)
    first.sync()
    first.close()
    with pytest.raises(WrongKey):
        LmdbStorage(tmp_path / "raft", key=key, cluster=cluster)


def test_what_a_crash_left_unfinished_is_removed(tmp_path: Path) -> None:
    first = LmdbStorage(tmp_path / "raft", key=KEY, cluster="c")
    first.write(HardState(term=1), entries(1, 5), 5)
    first.sync()
    save(first, 3, keep_from=2)
    first.begin_snapshot(SnapshotMeta(index=5, term=1)).add(b"half")
    first.close()
    second = LmdbStorage(tmp_path / "raft", key=KEY, cluster="c")
    assert len(list((tmp_path / "raft" / "snapshots").iterdir())) == 1
    assert chunks_of(second) == [b"one", b"two"]
    second.close()


def test_a_missing_snapshot_file_is_damage(tmp_path: Path) -> None:
    first = LmdbStorage(tmp_path / "raft", key=KEY, cluster="c")
    first.write(HardState(term=1), entries(1, 5), 5)
    first.sync()
    save(first, 3, keep_from=2)
    for file in (tmp_path / "raft" / "snapshots").iterdir():
        file.unlink()
    with pytest.raises(StorageDamaged, match="missing"):
        first.open_snapshot()
    first.close()


def test_a_snapshot_cannot_be_shortened_by_a_chunk(storage: LmdbStorage) -> None:
    storage.write(HardState(term=1), entries(1, 5), 5)
    storage.sync()
    save(storage, 3, keep_from=2, chunks=(b"1", b"2", b"3"))
    (file,) = (storage.path / "snapshots").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3 * 2])
    with pytest.raises(StorageDamaged):
        storage.open_snapshot()


def test_a_sink_is_a_file_of_the_storage(storage: LmdbStorage) -> None:
    sink = storage.begin_snapshot(SnapshotMeta(index=1, term=1))
    assert isinstance(sink, FileSink)
    sink.discard()
    assert list((storage.path / "snapshots").iterdir()) == []
