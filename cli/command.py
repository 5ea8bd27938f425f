"""The shape of every command: nouns that load their verbs when called for, verbs that read Docker's flag grammar.

`descend` walks from the root to the verb that the words name. See cli/flags/grammar.py for the words themselves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cli import usage
from cli.errors import Usage
from cli.flags.grammar import SWITCH, Flag, Words, read
from cli.session import Session

HELP = Flag("help", SWITCH, "Print how the command is used", short="h", hidden=True)


class Arity(NamedTuple):
    """How many arguments a verb takes; `most` None is any number."""

    least: int
    most: int | None

    def check(self, count: int, path: str) -> None:
        if self.least <= count and (self.most is None or count <= self.most):
            return
        if self.most == 0:
            raise Usage(f"shoal: '{path}' accepts no arguments")
        if self.least == self.most:
            wanted = f"requires {_arguments(self.least)}"
        elif self.most is None or count < self.least:
            wanted = f"requires at least {_arguments(self.least)}"
        else:
            wanted = f"requires at most {_arguments(self.most)}"
        raise Usage(f"shoal: '{path}' {wanted}")


NONE = Arity(0, 0)
ANY = Arity(0, None)
ONE = Arity(1, 1)
TWO = Arity(2, 2)
ONE_OR_MORE = Arity(1, None)


class Verb:
    """A command that does something: its flags, its arguments, and the function that it calls."""

    def __init__(
        self,
        name: str,
        act: Callable[[Session, Words], None],
        *,
        help: str,  # noqa: A002 - the word that it is
        arguments: str = "",
        arity: Arity = NONE,
        flags: Sequence[Flag] = (),
        interspersed: bool = True,
        aliases: Sequence[str] = (),
        complete: str = "",
    ) -> None:
        self.name, self.help = name, help
        self.flags = (*flags, HELP)
        self.arguments, self.arity, self.aliases, self.complete = arguments, arity, tuple(aliases), complete
        self._act, self._interspersed = act, interspersed

    def run(self, session: Session, path: str, args: Sequence[str]) -> None:
        words = read(args, self.flags, interspersed=self._interspersed)
        if words.flags.on("help"):
            session.say(self.page(path))
            return
        self.arity.check(len(words.args), path)
        self._act(session, words)

    def page(self, path: str) -> str:
        return usage.verb(path, self.usage_line(path), self.help, aliases=self.aliases, flags=self.flags)

    def usage_line(self, path: str) -> str:
        options = " [OPTIONS]" if any(not flag.hidden for flag in self.flags) else ""
        return f"{path}{options}{' ' + self.arguments if self.arguments else ''}"


class Entry(NamedTuple):
    """Where a command is found once it is called for, and what the help says of it until then."""

    module: str
    attribute: str
    help: str
    aliases: tuple[str, ...] = ()


class Noun:
    """A group of commands. A command's module is imported only when that command is called."""

    def __init__(self, name: str, entries: Mapping[str, Entry], *, help: str) -> None:  # noqa: A002 - the word that it is
        self.name, self.help = name, help
        self.entries = dict(entries)
        self._canonical = {alias: verb for verb, entry in entries.items() for alias in (verb, *entry.aliases)}

    def find(self, word: str) -> Verb | Noun | None:
        """The command of that name or alias."""
        name = self._canonical.get(word)
        if name is None:
            return None
        entry = self.entries[name]
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, Verb | Noun), f"{entry.module}.{entry.attribute} is no command"
        return command

    def page(self, path: str) -> str:
        return usage.noun(path, self.help, {name: entry.help for name, entry in self.entries.items()})

    def usage_line(self, path: str) -> str:
        return f"{path} COMMAND"


class Found(NamedTuple):
    """The command that words name, what it is called from the root on, and the words that are left for it."""

    command: Verb | Noun
    path: str
    args: tuple[str, ...]


def descend(start: Noun, path: str, args: Sequence[str]) -> Found:
    """Follow the words as far as they name commands; the flags of a noun are only --help, which stays in the words."""
    command: Verb | Noun = start
    rest = tuple(args)
    while isinstance(command, Noun) and rest and not rest[0].startswith("-"):
        found = command.find(rest[0])
        if found is None:
            break
        command, path, rest = found, f"{path} {found.name}", rest[1:]
    return Found(command, path, rest)


def run_found(session: Session, found: Found) -> None:
    """Run a verb; of a noun show what it has, or say that it has not what was asked for."""
    if isinstance(found.command, Verb):
        found.command.run(session, found.path, found.args)
        return
    words = read(found.args, (HELP,), interspersed=False)
    if words.args and not words.flags.on("help"):
        raise Usage(f"shoal: unknown command: {found.path} {words.args[0]}")
    session.say(found.command.page(found.path))


def _arguments(count: int) -> str:
    return f"{count} argument" + ("" if count == 1 else "s")
