"""Image references are checked as docker checks them, and sent as docker sends them."""

import pytest

from stack_specs.images import check, tagged

DIGEST = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("image", "sent"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.2", "nginx:1.2"),
        ("library/nginx", "nginx:latest"),
        ("docker.io/library/nginx", "nginx:latest"),
        ("docker.io/nginx", "nginx:latest"),
        ("index.docker.io/foo/nginx", "foo/nginx:latest"),
        ("foo/bar", "foo/bar:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("localhost/foo", "localhost/foo:latest"),
        ("localhost:5000/foo:bar", "localhost:5000/foo:bar"),
        ("example.com/foo", "example.com/foo:latest"),
        ("[::1]:5000/foo", "[::1]:5000/foo:latest"),
        ("UPPER/foo", "UPPER/foo:latest"),
        (f"nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
        ("a" * 64, "a" * 64),
    ],
)
def test_an_image_is_sent_as(image: str, sent: str) -> None:
    check(image)
    assert tagged(image) == sent


@pytest.mark.parametrize(
    "image",
    [
        "foo/Bar",
        "FOO",
        "nginx:",
        "nginx:-x",
        "nginx@sha256:bb",
        "a/",
        "/a",
        "a//b",
        "a..b",
        "-a",
        "a:b:c",
        "http://foo/bar",
        "foo bar",
        "foo___bar",
        "nginx:" + "x" * 129,
        "x" * 250,
        f"nginx@md5:{'a' * 32}",
    ],
)
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ValueError):
        check(image)


def test_an_uppercase_name_is_named() -> None:
    with pytest.raises(ValueError, match=r"repository name \(foo/Bar\) must be lowercase"):
        check("foo/Bar")
