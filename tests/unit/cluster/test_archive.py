"""A snapshot file says what is in it, gives back what was written, and is never taken for whole when it is not."""

import io
from collections.abc import Iterator

import pytest

from cluster.api.archive import MAGIC, DamagedArchive, Manifest, Reader, written

MANIFEST = Manifest(cluster_id="c", created="2026-01-02T03:04:05Z", product="0.1.0", raft_index=7, feature_level=1, counts={"nodes": 2})
FRAMES = [b"first", b"x" * 1000, b"last"]


def file() -> bytes:
    return b"".join(written(MANIFEST, FRAMES))


def opened(content: bytes) -> tuple[Manifest, list[bytes]]:
    reader = Reader(io.BytesIO(content).read)
    return reader.manifest, list(reader.frames())


def test_what_was_written_is_read() -> None:
    assert opened(file()) == (MANIFEST, FRAMES)


def test_the_manifest_is_readable_before_the_rest_is_there() -> None:
    assert Reader(io.BytesIO(file()[:300]).read).manifest == MANIFEST


def test_a_source_that_gives_less_than_asked_is_asked_again() -> None:
    source = io.BytesIO(file())
    assert list(Reader(lambda size: source.read(min(size, 3))).frames()) == FRAMES


def test_frames_are_encoded_when_their_turn_comes() -> None:
    taken: list[int] = []

    def frames() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield b"frame"

    pieces = written(MANIFEST, frames())
    next(pieces)
    next(pieces)
    assert taken == []
    next(pieces)
    assert taken == [0]


def test_a_file_cut_short_anywhere_is_refused() -> None:
    content = file()
    for length in range(len(content)):
        with pytest.raises(DamagedArchive):
            opened(content[:length])


def test_a_changed_byte_anywhere_is_refused() -> None:
    content = file()
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(DamagedArchive):
            opened(changed)


def test_more_than_was_written_is_refused() -> None:
    with pytest.raises(DamagedArchive, match="digest"):
        opened(file() + b"x")


def test_what_a_newer_version_wrote_is_told_from_what_is_no_snapshot() -> None:
    with pytest.raises(DamagedArchive, match="newer Shoal"):
        opened(MAGIC.replace(b"1", b"2") + b"{}\n")
    with pytest.raises(DamagedArchive, match="no snapshot"):
        opened(b"PK\x03\x04 something else entirely")


def test_what_a_later_version_adds_to_the_manifest_is_passed_over() -> None:
    content = file().replace(b'{"cluster_id"', b'{"also": 1, "cluster_id"')
    assert Reader(io.BytesIO(content).read).manifest == MANIFEST
