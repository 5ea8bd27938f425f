"""The `inspect` verbs: fetch each object, show those that were found, tell of those that were not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cli.client import Json
from cli.errors import CliError
from cli.flags.grammar import SWITCH, Flag, Words
from cli.render import INSPECT_FORMAT, inspect
from cli.session import Session

PRETTY = Flag("pretty", SWITCH, "Show what matters, for people to read")
FLAGS = (INSPECT_FORMAT, PRETTY)


def inspect_each(
    session: Session,
    words: Words,
    fetch: Callable[[str], Json],
    *,
    pretty: Callable[[Json], str] | None = None,
) -> None:
    form = words.flags.text("format")
    wants_pretty = words.flags.on("pretty")
    if wants_pretty and form:
        raise CliError("--format is incompatible with human friendly format")
    found, failed = fetched(words.args, fetch)
    if wants_pretty and pretty is not None:
        for one in found:
            session.say(pretty(one))
    elif found or not form:
        inspect(session, found, form)
    if failed:
        raise CliError("\n".join(failed))


def fetched(names: Iterable[str], fetch: Callable[[str], Json]) -> tuple[list[Any], list[str]]:
    """What was found, and the words for what was not."""
    found, failed = [], []
    for name in names:
        try:
            found.append(fetch(name))
        except CliError as refused:
            failed.append(refused.message)
    return found, failed
