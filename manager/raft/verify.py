"""`python -m manager.raft.verify PATH`: read a member's whole storage, in a process that may die of it (see `opening`)."""

import sys
from pathlib import Path

import msgspec

from manager.raft.errors import StorageDamaged, WrongKey
from manager.raft.lmdb_pages import check_pages
from manager.raft.opening import DAMAGED_STATUS, WRONG_KEY_STATUS, Unlock
from manager.raft.storage import LmdbStorage


def verify(path: Path, unlock: Unlock) -> None:
    """Raises `StorageDamaged` or `WrongKey`; returns if every page and every record is what was written."""
    check_pages(path)
    storage = LmdbStorage(path, key=unlock.key, cluster=unlock.cluster, map_size=unlock.map_size, read_only=True)
    try:
        storage.load()
        snapshot = storage.open_snapshot()
        if snapshot is not None:
            for number in range(snapshot.count):
                snapshot.read(number)
            snapshot.close()
    finally:
        storage.close()


def main() -> int:
    unlock = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Unlock)
    try:
        verify(Path(sys.argv[1]), unlock)
    except WrongKey:
        return WRONG_KEY_STATUS
    except StorageDamaged as damaged:
        sys.stdout.write(f"{damaged.why}\n")
        return DAMAGED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
