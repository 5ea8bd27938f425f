"""Command lines are split as docker splits them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.words import split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   ", []),
        ("bundle exec thin -p 3000", ["bundle", "exec", "thin", "-p", "3000"]),
        ("sh -c 'echo \"hi\"; sleep 1'", ["sh", "-c", 'echo "hi"; sleep 1']),
        ('a "b c" d', ["a", "b c", "d"]),
        ('a"b c"d', ["ab cd"]),
        ("a\\ b", ["a b"]),
        ('"a\\nb\\"c"', ['anb"c']),
        ("'a\\b'", ["a\\b"]),
        ('""', [""]),
        ("a '' b", ["a", "", "b"]),
        ("a # comment\nb", ["a", "b"]),
        ("a#b", ["a#b"]),
        ("# all of it", []),
        ("a\tb\r\nc", ["a", "b", "c"]),
        ("echo $HOME && ls", ["echo", "$HOME", "&&", "ls"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ['a "b', "a 'b", "a\\", '"a\\'])
def test_an_open_end_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        split(line)


@given(st.lists(st.text(alphabet="ab #\n", max_size=5), max_size=5))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    assert split(" ".join(f"'{word}'" for word in words)) == words
