"""What LMDB takes on trust, checked on the raw file: both headers, the shape of both trees, and the list of free pages.

LMDB 0.9 on 64 bit. A page begins with its number (8 bytes), padding (2), flags (2) and either the bounds of its free space (2 + 2)
or, for a run of overflow pages, their count (4). A damaged list of free pages would make LMDB write over pages in use: so every
page of the file must be in use or free, and none both.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from manager.raft.errors import StorageDamaged

# magic, version, (address, map size), free tree, main tree, last page, transaction
_META = struct.Struct("<16xII16x48s48sQQ")
_TREE = struct.Struct("<IHHQQQQQ")  # page size or padding, flags, depth, branches, leaves, overflows, entries, root
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")  # low, high: size of the data or low part of a page number; flags, size of the key
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _BIG = 0x01, 0x02, 0x04, 0x01
_NO_PAGE = 0xFFFF_FFFF_FFFF_FFFF
_HEADER = 16


class _File:
    """The bytes of the file and what is known about it so far."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.page_size = _U32.unpack_from(content, _HEADER + 24)[0] if len(content) >= 256 else 0
        if self.page_size not in (4096, 8192, 16384, 32768, 65536) or len(content) < 2 * self.page_size:
            raise self.damaged("its header is garbled or cut off")
        self.used: set[int] = {0, 1}

    def damaged(self, why: str) -> StorageDamaged:
        return StorageDamaged(self.path, why)

    def page(self, number: int, last: int) -> tuple[int, int, int]:
        """Where the page begins, its flags, and where its node list ends; the page counts as used from now on."""
        if not 2 <= number <= last or number in self.used:
            raise self.damaged(f"page {number} is pointed to wrongly")
        self.used.add(number)
        at = number * self.page_size
        own_number, _, flags, lower, _ = _PAGE.unpack_from(self.content, at)
        if own_number != number:
            raise self.damaged(f"page {number} says it is page {own_number}")
        return at, flags, lower


def check_pages(path: Path) -> None:
    """Raises `StorageDamaged` unless LMDB can safely open the file for reading and writing."""
    with (path / "log" / "data.mdb").open("rb") as opened:
        try:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as empty:
            raise StorageDamaged(path, "its log is empty") from empty
    with content:
        _check(_File(path, content))


def _check(file: _File) -> None:
    free_tree, main_tree, last = _newest_header(file)
    if len(file.content) < (last + 1) * file.page_size:
        raise file.damaged(f"it is {len(file.content)} bytes long, but should be at least {(last + 1) * file.page_size}")
    try:
        for _ in _leaves(file, main_tree, last):
            pass
        free = [number for data in _leaves(file, free_tree, last) for number in _free_pages(file, data)]
    except (struct.error, RecursionError) as garbled:
        raise file.damaged(f"a page is garbled: {garbled}") from garbled
    if len(set(free)) != len(free) or set(free) & file.used or len(free) + len(file.used) != last + 1:
        raise file.damaged("its list of free pages does not fit the pages in use")


def _newest_header(file: _File) -> tuple[bytes, bytes, int]:
    """Both headers must be of neighbouring transactions, or an older state could pass for the newest."""
    pages = [_META.unpack_from(file.content, at) for at in (0, file.page_size)]
    if any((page[0], page[1]) != (_MAGIC, _VERSION) for page in pages):
        raise file.damaged("it has no LMDB header")
    first, second = pages[0][5], pages[1][5]
    if (first, second) != (0, 0) and (abs(first - second) != 1 or first % 2 == 1):
        raise file.damaged(f"its two headers are of transactions {first} and {second}, which are not neighbours")
    _, _, free_tree, main_tree, last, _ = pages[0] if first > second else pages[1]
    return free_tree, main_tree, last


def _leaves(file: _File, tree: bytes, last: int) -> Iterator[bytes]:
    """The data of every node of a tree, in order; all its pages are used."""
    _, _, depth, branches, leaves, overflows, entries, root = _TREE.unpack(tree)
    if root == _NO_PAGE:
        return
    before = len(file.used)
    count = 0
    for data in _walk(file, root, last, depth):
        count += 1
        yield data
    if count != entries or len(file.used) - before != branches + leaves + overflows:
        raise file.damaged(f"a tree has {count} entries, but should have {entries}")


def _walk(file: _File, number: int, last: int, depth: int) -> Iterator[bytes]:
    at, flags, lower = file.page(number, last)
    if flags & 0xF not in (_BRANCH, _LEAF) or (flags & _LEAF != 0) != (depth == 1):
        raise file.damaged(f"page {number} is of a wrong kind")
    for slot in range(at + _HEADER, at + lower, 2):
        node = at + int.from_bytes(file.content[slot : slot + 2], "little")
        low, high, node_flags, key_size = _NODE.unpack_from(file.content, node)
        data_at = node + _NODE.size + key_size
        if flags & _BRANCH:
            yield from _walk(file, low | high << 16 | node_flags << 32, last, depth - 1)
        elif node_flags & _BIG:
            yield _overflow(file, _U64.unpack_from(file.content, data_at)[0], low | high << 16, last)
        else:
            if data_at + (low | high << 16) > at + file.page_size:
                raise file.damaged(f"page {number} holds more than it can")
            yield file.content[data_at : data_at + (low | high << 16)]


def _overflow(file: _File, number: int, size: int, last: int) -> bytes:
    """Data too large for its page lies in a run of pages of its own."""
    at, flags, _ = file.page(number, last)
    count = _U32.unpack_from(file.content, at + 12)[0]
    needed = (_HEADER + size + file.page_size - 1) // file.page_size
    if not flags & _OVERFLOW or count != needed or number + count - 1 > last:
        raise file.damaged(f"page {number} does not begin a run of {needed} pages")
    run = set(range(number + 1, number + count))
    if run & file.used:
        raise file.damaged(f"the run of pages from {number} on overlaps others")
    file.used |= run
    return file.content[at + _HEADER : at + _HEADER + size]


def _free_pages(file: _File, data: bytes) -> Iterator[int]:
    count = _U64.unpack_from(data)[0]
    if len(data) < 8 * (count + 1):
        raise file.damaged("its list of free pages is cut off")
    for place in range(1, count + 1):
        yield _U64.unpack_from(data, 8 * place)[0]
