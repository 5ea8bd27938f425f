"""`python -m manager.raft.verify PATH`: read a member's whole storage, in a process that may die of it (see `opening`).

Beyond opening every sealed record it checks, on the raw file, what LMDB takes on trust: that both header pages are sane and are
those of the last two transactions, and that the file is as long as they say.
"""

import struct
import sys
from pathlib import Path

import msgspec

from manager.raft.errors import StorageDamaged, WrongKey
from manager.raft.opening import DAMAGED_STATUS, WRONG_KEY_STATUS, Unlock
from manager.raft.storage import LmdbStorage

# LMDB 0.9's meta page on 64 bit: page header (16), magic, version, address, map size, two 48-byte trees, last page, transaction.
_META = struct.Struct("<16xII8xQ48x48xQQ")
_PAGE_SIZE_AT = 16 + 4 + 4 + 8 + 8
_MAGIC = 0xBEEFC0DE


def check_headers(path: Path) -> None:
    file = path / "log" / "data.mdb"
    with file.open("rb") as opened:
        head = opened.read(2 * 65536)
    page_size = int.from_bytes(head[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 4], "little")
    if not 512 <= page_size <= 65536 or len(head) < page_size + _META.size:
        raise StorageDamaged(path, "its header is garbled or cut off")
    pages = [_META.unpack_from(head, at) for at in (0, page_size)]
    if any(page[0] != _MAGIC or page[1] & 0xFFFF != 1 for page in pages):
        raise StorageDamaged(path, "it has no LMDB header")
    (*_, first_last, first_txn), (*_, second_last, second_txn) = pages
    if abs(first_txn - second_txn) > 1 or (first_txn != second_txn and (first_txn % 2, second_txn % 2) != (0, 1)):
        raise StorageDamaged(path, f"its two headers are of transactions {first_txn} and {second_txn}, which are not neighbours")
    last_page = first_last if first_txn > second_txn else second_last
    if file.stat().st_size < (last_page + 1) * page_size:
        raise StorageDamaged(path, f"it is {file.stat().st_size} bytes long, but should be at least {(last_page + 1) * page_size}")


def verify(path: Path, unlock: Unlock) -> None:
    check_headers(path)
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
