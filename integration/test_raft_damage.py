"""A damaged disk ends with instructions, never with a signal and never with a state that was not written."""

import random
from pathlib import Path

import pytest

from manager.raft.core.entries import Command, HardState, SnapshotMeta, Stored
from manager.raft.errors import StorageDamaged, WrongKey
from manager.raft.opening import open_storage
from manager.raft.storage import LmdbStorage

KEY = bytes(range(32))


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Stored]:
    """A storage with a history: conflicts, a snapshot, free pages, large values."""
    path, rng = tmp_path / "raft", random.Random(5)
    storage, last = LmdbStorage(path, key=KEY, cluster="c"), 0
    for batch in range(1, 60):
        if batch % 10 == 0:
            last -= 5
        fresh = [Command(index=last + 1 + at, term=batch, payload=rng.randbytes(rng.choice((20, 500, 9000)))) for at in range(9)]
        storage.write(HardState(term=batch), fresh, last)
        storage.sync()
        last += 9
        if batch == 30:
            sink = storage.begin_snapshot(SnapshotMeta(index=last, term=batch))
            sink.add(rng.randbytes(5000))
            sink.add(rng.randbytes(100))
            storage.save_snapshot(sink, last - 50)
    stored = storage.load()
    storage.close()
    return path, stored


def opened(path: Path) -> Stored:
    storage = open_storage(path, key=KEY, cluster="c")
    try:
        return storage.load()
    finally:
        storage.close()


def test_an_undamaged_storage_opens(written: tuple[Path, Stored]) -> None:
    path, stored = written
    assert opened(path) == stored


def test_the_wrong_key_is_told(written: tuple[Path, Stored]) -> None:
    path, _ = written
    with pytest.raises(WrongKey):
        open_storage(path, key=bytes(32), cluster="c")


def places(content: bytes, rng: random.Random) -> list[int]:
    """Both headers, the beginnings of pages, and anywhere."""
    headers = [page + at for page in (0, 4096) for at in (16, 20, 40, 48, 50, 80, 96, 104, 128, 136, 137, 144, 151)]
    pages = [rng.randrange(2, len(content) // 4096) * 4096 + at for at in (0, 10, 12, 14, 16, 17, 18, 30)]
    return headers + pages + [rng.randrange(len(content)) for _ in range(26)]


def test_a_flipped_byte_is_found_or_harmless(written: tuple[Path, Stored]) -> None:
    path, stored = written
    file = path / "log" / "data.mdb"
    content, found = file.read_bytes(), 0
    for place in places(content, random.Random(9)):
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        try:
            assert opened(path) == stored, f"byte {place}"
        except StorageDamaged:
            found += 1
    assert found > 20


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.99])
def test_a_truncated_log_is_found(written: tuple[Path, Stored], share: float) -> None:
    """One of which nothing is left counts as taken away: StateFolder.has_lost_log."""
    path, _ = written
    file = path / "log" / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StorageDamaged, match="Do not delete it yet"):
        open_storage(path, key=KEY, cluster="c")


def test_a_damaged_snapshot_is_found(written: tuple[Path, Stored]) -> None:
    path, _ = written
    (file,) = (path / "snapshots").iterdir()
    content = file.read_bytes()
    for place in (0, 3, 40, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(StorageDamaged):
            open_storage(path, key=KEY, cluster="c")


def test_something_else_in_its_place_is_found(written: tuple[Path, Stored]) -> None:
    path, _ = written
    (path / "log" / "data.mdb").write_bytes(random.Random(1).randbytes(100_000))
    with pytest.raises(StorageDamaged):
        open_storage(path, key=KEY, cluster="c")


def test_an_older_copy_of_the_newest_header_is_found(written: tuple[Path, Stored]) -> None:
    """The header before the newest would silently undo the last batch, which was acknowledged."""
    path, _ = written
    file = path / "log" / "data.mdb"
    content = bytearray(file.read_bytes())
    newest = max((0, 4096), key=lambda at: int.from_bytes(content[at + 144 : at + 152], "little"))
    other = 4096 - newest
    content[newest : newest + 4096] = content[other : other + 4096]
    file.write_bytes(bytes(content))
    with pytest.raises(StorageDamaged):
        open_storage(path, key=KEY, cluster="c")
