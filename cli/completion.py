"""Tab completion: flags from the commands themselves, names of services, nodes and the rest from the daemon.

The shells' side of it is click's: our commands are shown to it as click commands, for completion alone.
A daemon that does not answer within half a second completes nothing; a shell must never hang on a tab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from cli.command import HELP, Noun
from cli.errors import CliError, Usage
from cli.flags.grammar import Flag, Flags, read
from cli.session import Session

PATIENCE = 0.5

# What a word names -> how it is listed: path, and the member that holds the name.
LISTED: dict[str, tuple[str, Callable[[Any], Iterable[str]]]] = {
    "service": ("/services", lambda one: (one["Spec"]["Name"],)),
    "node": ("/nodes", lambda one: (one["Description"]["Hostname"],)),
    "secret": ("/secrets", lambda one: (one["Spec"]["Name"],)),
    "config": ("/configs", lambda one: (one["Spec"]["Name"],)),
    "network": ("/networks", lambda one: (one["Name"],)),
    "task": ("/tasks", lambda one: (one["ID"],)),
    "volume": ("/volumes", lambda one: (one["Name"],)),
    "container": ("/containers/json", lambda one: (name.lstrip("/") for name in one["Names"])),
    "stack": ("/services", lambda one: filter(None, ((one["Spec"].get("Labels") or {}).get("com.docker.stack.namespace"),))),
}


def complete(root: Noun, flags: Sequence[Flag], begin: Callable[..., Session]) -> None:
    """Answer the shell's question and end the process."""

    def session(line: Sequence[str]) -> Session:
        try:
            given = read(line, (*flags, HELP), interspersed=False).flags
        except Usage:
            given = Flags({})
        return begin(given, timeout=PATIENCE)

    _Group(root, flags, session).main(prog_name=root.name)


class _Group(click.Group):
    """A noun as click's completion sees it."""

    def __init__(self, noun: Noun, flags: Sequence[Flag] = (), session: Callable[[Sequence[str]], Session] | None = None) -> None:
        super().__init__(noun.name, help=noun.help, params=_params(flags, ""), add_help_option=False)
        self._noun, self._session = noun, session

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self._noun.entries)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        found = self._noun.find(cmd_name)
        if isinstance(found, Noun):
            return _Group(found)
        return None if found is None else click.Command(found.name, help=found.help, params=_params(found.flags, found.complete))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._session is not None:
            ctx.obj = self._session(args)
        return super().parse_args(ctx, args)


def _params(flags: Sequence[Flag], names: str) -> list[click.Parameter]:
    """The flags and arguments; `names` is what the arguments name."""
    shown: list[click.Parameter] = [_Option(flag) for flag in flags if not flag.hidden]
    if names:
        shown.append(click.Argument(["words"], nargs=-1, required=False, shell_complete=_completer(names)))
    return shown


class _Option(click.Option):
    def __init__(self, flag: Flag) -> None:
        spelled = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
        choices = _completer(flag.complete) if flag.complete else None
        super().__init__(
            [*spelled, f"flag_{flag.name.replace('-', '_')}"],
            is_flag=flag.kind.switch,
            multiple=flag.kind.many,
            help=flag.help,
            expose_value=False,
            shell_complete=choices,
        )


def _completer(names: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def completed(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if names == "file":
            return [CompletionItem(incomplete, type="file")]
        words = listed(ctx, names) if names in LISTED else names.split("|")
        return [CompletionItem(word) for word in sorted(set(words)) if word.startswith(incomplete)]

    return completed


def listed(ctx: click.Context, kind: str) -> list[str]:
    """The names of that kind which the daemon knows; none if it does not say so at once."""
    session = ctx.find_object(Session)
    if session is None:
        return []
    path, names = LISTED[kind]
    try:
        found = session.client.get(path)
    except CliError:
        return []
    entries = found.get("Volumes") or [] if kind == "volume" else found or []
    return [name for entry in entries for name in names(entry)]


def script(shell: str, program: str) -> str:
    """The lines that a shell's start-up file reads to get completion."""
    kind = get_completion_class(shell)
    if kind is None:
        raise CliError(f"no completion for {shell!r}: use bash, zsh or fish")
    return kind(click.Command(program), {}, program, f"_{program.upper()}_COMPLETE").source()
