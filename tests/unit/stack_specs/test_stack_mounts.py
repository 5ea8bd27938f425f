"""Volumes in the short syntax become what docker makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.model import BindOptions, Mount, VolumeOptions
from stack_specs.mounts import parse


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/var/lib/mysql", Mount(type="volume", target="/var/lib/mysql")),
        ("x", Mount(type="volume", target="x")),
        ("data:/db", Mount(type="volume", source="data", target="/db")),
        ("/opt:/opt:ro", Mount(type="bind", source="/opt", target="/opt", read_only=True)),
        ("./a:/a:rw", Mount(type="bind", source="./a", target="/a")),
        ("~/a:/a", Mount(type="bind", source="~/a", target="/a")),
        ("data:/db:nocopy", Mount(type="volume", source="data", target="/db", volume=VolumeOptions(nocopy=True))),
        ("/a:/b:ro,z,rshared", Mount(type="bind", source="/a", target="/b", read_only=True, bind=BindOptions(propagation="rshared"))),
        ("C:\\a:D:\\b:ro", Mount(type="bind", source="C:\\a", target="D:\\b", read_only=True)),
        ("\\\\.\\pipe\\x:/p", Mount(type="bind", source="\\\\.\\pipe\\x", target="/p")),
        ("a:/b", Mount(type="volume", target="a:/b")),
    ],
)
def test_a_volume_reads_as(text: str, mount: Mount) -> None:
    assert parse(text) == mount


@pytest.mark.parametrize("text", ["", "data:", ":/db", "data::/db", "data:/db:ro:z", "data:/db:"])
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.text(alphabet="ab/:.~,C\\", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        said = parse(text).target
    except ValueError as error:
        said = str(error)
    assert said
