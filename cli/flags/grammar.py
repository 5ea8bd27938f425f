"""How Docker's CLI reads a command line: --flag value, --flag=value, -abc groups, switches that take only =value. Pure.

Click dispatches to the commands and draws the help; it does not know this grammar (`--detach web` and `--detach=false`
are both right), so a command's words are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cli.errors import Usage
from cli.flags import values


class Kind(NamedTuple):
    """A sort of flag: the word that help shows for its value, how the value is read, whether it repeats."""

    word: str
    read: Callable[[str], Any] = str
    many: bool = False
    switch: bool = False
    spread: bool = False  # one value may hold several, as 80-82:80-82 does


SWITCH = Kind("", values.boolean, switch=True)
TEXT = Kind("string")
LIST = Kind("list", many=True)
COMMA_LIST = Kind("strings", values.fields, many=True, spread=True)
MAP = Kind("map", many=True)
INT = Kind("int", values.integer)
UINT = Kind("uint", values.unsigned)
FLOAT = Kind("float", values.ratio)
DURATION = Kind("duration", values.duration)
POSITIVE_DURATION = Kind("duration", values.positive_duration)
BYTES = Kind("bytes", values.size)
DECIMAL = Kind("decimal", values.cpus)
COMMAND = Kind("command", values.words)


class Flag(NamedTuple):
    """One flag of a command. `default` is only shown: what was not given is not there."""

    name: str
    kind: Kind
    help: str
    short: str = ""
    default: str = ""
    hidden: bool = False
    complete: str = ""  # what its value names: service, node, file, or choices divided by |

    @property
    def spelled(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Flags:
    """The flags that were given, by name. What was not given falls back to the caller's default."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def any(self, *names: str) -> bool:
        return any(name in self._given for name in names)

    def names(self) -> Iterable[str]:
        return self._given.keys()

    def on(self, name: str) -> bool:
        return bool(self._given.get(name, False))

    def text(self, name: str, default: str = "") -> str:
        return str(self._given.get(name, default))

    def number(self, name: str) -> int | None:
        value = self._given.get(name)
        return None if value is None else int(value)

    def many(self, name: str) -> list[Any]:
        return list(self._given.get(name, ()))

    def value(self, name: str, default: Any = None) -> Any:
        return self._given.get(name, default)


class Words(NamedTuple):
    """A command line, read."""

    flags: Flags
    args: tuple[str, ...]


def read(line: Sequence[str], flags: Iterable[Flag], *, interspersed: bool = True) -> Words:
    """Divide a command's words into flags and arguments; `--` ends the flags, and without `interspersed` the first argument does."""
    by_name, by_short = _indexes(flags)
    given: dict[str, Any] = {}
    args: list[str] = []
    rest = list(line)
    while rest:
        word = rest.pop(0)
        if word == "--":
            args += rest
            break
        if word.startswith("--"):
            _long(word, rest, by_name, given)
        elif word.startswith("-") and word != "-":
            _shorts(word, rest, by_short, given)
        else:
            args.append(word)
            if not interspersed:
                args += rest
                break
    return Words(Flags(given), tuple(args))


def _indexes(flags: Iterable[Flag]) -> tuple[dict[str, Flag], dict[str, Flag]]:
    by_name = {flag.name: flag for flag in flags}
    return by_name, {flag.short: flag for flag in by_name.values() if flag.short}


def _long(word: str, rest: list[str], by_name: Mapping[str, Flag], given: dict[str, Any]) -> None:
    name, equals, value = word[2:].partition("=")
    flag = by_name.get(name)
    if not name or flag is None:
        raise Usage(f"unknown flag: --{name}" if name else f"bad flag syntax: {word}", code=125)
    if not equals:
        if flag.kind.switch:
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise Usage(f"flag needs an argument: --{name}", code=125)
    _keep(flag, value, given)


def _shorts(word: str, rest: list[str], by_short: Mapping[str, Flag], given: dict[str, Any]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = by_short.get(letter)
        if flag is None:
            raise Usage(f"unknown shorthand flag: '{letter}' in {word}", code=125)
        if letters.startswith("="):
            _keep(flag, letters[1:], given)
            return
        if flag.kind.switch:
            _keep(flag, "true", given)
            continue
        if not letters and not rest:
            raise Usage(f"flag needs an argument: '{letter}' in {word}", code=125)
        _keep(flag, letters or rest.pop(0), given)
        return


def _keep(flag: Flag, text: str, given: dict[str, Any]) -> None:
    try:
        value = flag.kind.read(text)
    except ValueError as wrong:
        raise Usage(f'invalid argument "{text}" for "{flag.spelled}" flag: {wrong}', code=125) from None
    if not flag.kind.many:
        given[flag.name] = value
    elif flag.kind.spread:
        given.setdefault(flag.name, []).extend(value)
    else:
        given.setdefault(flag.name, []).append(value)
