"""`service rm`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cli.command import ONE_OR_MORE, Verb
from cli.errors import CliError
from cli.flags.grammar import Words
from cli.session import Session


def _rm(session: Session, words: Words) -> None:
    each(session, words.args, lambda name: session.client.delete(f"/services/{name}"))


def each(session: Session, names: Iterable[str], act: Callable[[str], object]) -> None:
    """Do it for every name and say the name; what failed is told at the end, and does not keep the others from being done."""
    failed = []
    for name in names:
        try:
            act(name)
        except CliError as refused:
            failed.append(refused.message)
        else:
            session.say(name)
    if failed:
        raise CliError("\n".join(failed))


rm = Verb(
    "rm",
    _rm,
    help="Remove one or more services",
    arguments="SERVICE [SERVICE...]",
    arity=ONE_OR_MORE,
    aliases=("remove",),
    complete="service",
)
