"""Paths are made absolute without a look at any disk."""

import pytest

from stack_specs.paths import absolute, is_absolute


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        (".", "/srv/shop"),
        ("./a", "/srv/shop/a"),
        ("a/../b/", "/srv/shop/b"),
        ("../x", "/srv/x"),
        ("../../../..", "/"),
        ("", "/srv/shop"),
        ("a//b", "/srv/shop/a/b"),
        ("/a/../b", "/a/../b"),
    ],
)
def test_a_path_seen_from_a_folder(path: str, seen: str) -> None:
    assert absolute(path, "/srv/shop") == seen


@pytest.mark.parametrize("path", ["/a", "C:\\a", "c:/a", "\\\\host\\share\\x"])
def test_absolute(path: str) -> None:
    assert is_absolute(path)


@pytest.mark.parametrize("path", ["a", "./a", "C:a", "\\\\.\\pipe\\x", "~"])
def test_not_absolute(path: str) -> None:
    assert not is_absolute(path)
