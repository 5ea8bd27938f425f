"""The shape of every command: nouns that load their verbs when called for, verbs that read Docker's flag grammar.

Built on click for dispatch, help and completion; see cli/flags/grammar.py for the words themselves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

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


class Verb(click.Command):
    """A command that does something: its flags, its arguments, and the function that it calls."""

    def __init__(
        self,
        name: str,
        act: Callable[[Session, Words], None],
        *,
        help: str,  # noqa: A002 - click's own name for it
        arguments: str = "",
        arity: Arity = NONE,
        flags: Sequence[Flag] = (),
        interspersed: bool = True,
        aliases: Sequence[str] = (),
        complete: str = "",
    ) -> None:
        self.flags = (*flags, HELP)
        self.arguments, self.arity, self.aliases = arguments, arity, tuple(aliases)
        self._act, self._interspersed = act, interspersed
        self._complete = complete
        super().__init__(name, help=help, add_help_option=False)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """What click's completion goes by; nothing else of click looks at the flags."""
        if not ctx.resilient_parsing:
            return []
        from cli import completion  # noqa: PLC0415 - a tab's only

        return completion.params(self.flags, self._complete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return []
        words = read(args, self.flags, interspersed=self._interspersed)
        if words.flags.on("help"):
            click.echo(self.get_help(ctx))
            ctx.exit()
        self.arity.check(len(words.args), ctx.command_path)
        ctx.params["words"] = words
        return []

    def invoke(self, ctx: click.Context) -> Any:
        session = ctx.find_object(Session)
        assert session is not None, "main makes the session before any verb runs"
        return self._act(session, ctx.params["words"])

    def get_help(self, ctx: click.Context) -> str:
        return usage.verb(ctx.command_path, self.usage_line(ctx), self.help or "", aliases=self.aliases, flags=self.flags)

    def usage_line(self, ctx: click.Context) -> str:
        options = " [OPTIONS]" if any(not flag.hidden for flag in self.flags) else ""
        return f"{ctx.command_path}{options}{' ' + self.arguments if self.arguments else ''}"


class Entry(NamedTuple):
    """Where a command is found once it is called for, and what the help says of it until then."""

    module: str
    attribute: str
    help: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class Noun(click.Group):
    """A group of commands. A command's module is imported only when that command is called."""

    def __init__(self, name: str, entries: Mapping[str, Entry], *, help: str) -> None:  # noqa: A002 - click's own name
        super().__init__(name, help=help, add_help_option=False)
        self.entries = dict(entries)
        self._canonical = {alias: verb for verb, entry in entries.items() for alias in (verb, *entry.aliases)}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name, entry in self.entries.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        name = self._canonical.get(cmd_name)
        if name is None:
            return None
        entry = self.entries[name]
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            words = read(args, (HELP,), interspersed=False)
            if words.flags.on("help") or not words.args:
                click.echo(self.get_help(ctx))
                ctx.exit()
            args = list(words.args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise Usage(f"shoal: unknown command: {ctx.command_path} {args[0]}")
        return command.name, command, args[1:]

    def get_help(self, ctx: click.Context) -> str:
        return usage.noun(ctx.command_path, self.help or "", {name: e.help for name, e in self.entries.items() if not e.hidden})

    def usage_line(self, ctx: click.Context) -> str:
        return f"{ctx.command_path} COMMAND"


def _arguments(count: int) -> str:
    return f"{count} argument" + ("" if count == 1 else "s")
