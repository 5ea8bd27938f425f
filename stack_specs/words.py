"""Split a command line into words as a shell would, but for expansion: quotes, backslashes and comments."""

from collections.abc import Iterator

_SPACES = " \t\r\n"


def split(line: str) -> list[str]:
    """The words of a command line; raise ValueError if a quote or a backslash is left open.

    Inside double quotes a backslash takes the next character as it is, whatever that is. A # starts a comment only at the start of a
    word.
    """
    characters = iter(line)
    words: list[str] = []
    for character in characters:
        if character == "#":
            _skip_comment(characters)
        elif character not in _SPACES:
            words.append("".join(_word(character, characters)))
    return words


def _word(first: str, rest: Iterator[str]) -> Iterator[str]:
    character: str | None = first
    while character is not None and character not in _SPACES:
        match character:
            case "'":
                yield from _quoted(rest)
            case '"':
                yield from _double_quoted(rest)
            case "\\":
                yield _escaped(rest)
            case _:
                yield character
        character = next(rest, None)


def _quoted(rest: Iterator[str]) -> Iterator[str]:
    for character in rest:
        if character == "'":
            return
        yield character
    raise ValueError("a single quote is not closed")


def _double_quoted(rest: Iterator[str]) -> Iterator[str]:
    for character in rest:
        if character == '"':
            return
        yield _escaped(rest) if character == "\\" else character
    raise ValueError("a double quote is not closed")


def _escaped(rest: Iterator[str]) -> str:
    character = next(rest, None)
    if character is None:
        raise ValueError("the line ends after a backslash")
    return character


def _skip_comment(rest: Iterator[str]) -> None:
    for character in rest:
        if character == "\n":
            return
