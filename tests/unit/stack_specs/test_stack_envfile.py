"""Environment files mean what docker takes them for."""

import pytest

from stack_specs.envfile import parse

ENV = {"HOME": "/root"}


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# comment\n\n   # another\nA=1", {"A": "1"}),
        ("  A=1", {"A": "1"}),
        ("A='x' # y", {"A": "'x' # y"}),
        ("A==b", {"A": "=b"}),
        ("A=", {"A": ""}),
        ("A=1\nA=2", {"A": "2"}),
        ("HOME\nNOWHERE\n", {"HOME": "/root"}),
        ("A=$HOME", {"A": "$HOME"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=ä", {"A": "ä"}),
    ],
)
def test_variables(source: str, variables: dict[str, str]) -> None:
    assert parse(source.encode(), ENV) == variables


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"A=1\nA B=2", "line 2: the variable name 'A B' contains whitespace"),
        (b"export A=1", "contains whitespace"),
        (b"=x", "line 1 has no variable name"),
        (b"A=1\nB=\xff", "line 2 is not UTF-8"),
        (b"A=" + b"x" * 70_000, "line 1 is too long"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(source: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(source, ENV)
