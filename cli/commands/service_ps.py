"""`service ps`."""

from __future__ import annotations

from collections.abc import Iterable

from cli.command import ONE_OR_MORE, Verb
from cli.errors import CliError
from cli.flags.entries import filters
from cli.flags.grammar import Words
from cli.session import Session
from cli.tasks import FLAGS as TASK_FLAGS
from cli.tasks import filtered, show_tasks


def _ps(session: Session, words: Words) -> None:
    """Tasks of the named services; a name that there is no service for is told after the table."""
    found, missing = services_named(session, words.args)
    if found:
        wanted = filters(words.flags.many("filter"))
        wanted = filtered(session, wanted) | {"service": [*wanted.get("service", []), *found]}
        show_tasks(session, session.client.list("/tasks", wanted), words.flags, whole=words.flags.on("quiet"))
    if missing:
        raise CliError("\n".join(f"no such service: {name}" for name in missing))


def services_named(session: Session, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The ids that the names or id prefixes mean, and the names that mean nothing."""
    wanted = list(dict.fromkeys(names))
    known = {one["ID"]: one for name in ("id", "name") for one in session.client.list("/services", {name: wanted})}
    found, missing = [], []
    for name in wanted:
        exact = [key for key, one in known.items() if one["Spec"]["Name"] == name] or [key for key in known if key == name]
        prefixed = exact or [key for key in known if key.startswith(name)]
        if len(prefixed) > 1:
            raise CliError(f'multiple services found with provided prefix: "{name}"')
        found += prefixed
        missing += [] if prefixed else [name]
    return found, missing


ps = Verb(
    "ps",
    _ps,
    help="List the tasks of one or more services",
    arguments="SERVICE [SERVICE...]",
    arity=ONE_OR_MORE,
    flags=TASK_FLAGS,
    complete="service",
)
