"""`shoal config`: bytes that tasks can read, kept by the swarm."""

from __future__ import annotations

from cli.command import NONE, ONE_OR_MORE, TWO, Entry, Noun, Verb
from cli.commands.service_remove import each
from cli.files import body, contents, pretty, show_listing
from cli.flags import values
from cli.flags.entries import FILTER, LABELS, filters
from cli.flags.grammar import TEXT, Flag, Words
from cli.inspection import FLAGS as INSPECT_FLAGS
from cli.inspection import inspect_each
from cli.render import FORMAT, QUIET, Listing
from cli.session import Session

HEADERS = {"ID": "ID", "Name": "NAME", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED"}
LISTING = Listing({**HEADERS, "Labels": "LABELS"}, tuple(HEADERS))


def _create(session: Session, words: Words) -> None:
    flags, (name, file) = words.flags, words.args
    data = contents(session, "config", file)
    session.say(session.client.post("/configs/create", body(name, data, values.pairs(flags.many("label")), flags))["ID"])


def _ls(session: Session, words: Words) -> None:
    show_listing(session, LISTING, session.client.list("/configs", filters(words.flags.many("filter"))), words.flags)


def _inspect(session: Session, words: Words) -> None:
    inspect_each(session, words, lambda name: session.client.get(f"/configs/{name}"), pretty=lambda one: pretty(one, secret=False))


def _rm(session: Session, words: Words) -> None:
    each(session, words.args, lambda name: session.client.delete(f"/configs/{name}"))


create = Verb(
    "create",
    _create,
    help="Make a config of a file or of standard input",
    arguments="CONFIG file|-",
    arity=TWO,
    flags=(Flag("label", LABELS, "Labels of the config", short="l"), Flag("template-driver", TEXT, "Template driver")),
)
ls = Verb(
    "ls",
    _ls,
    help="List configs",
    arity=NONE,
    flags=(Flag("filter", FILTER, "Show only what fits, as in name=nginx", short="f"), FORMAT, QUIET),
    aliases=("list",),
)
inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more configs in detail",
    arguments="CONFIG [CONFIG...]",
    arity=ONE_OR_MORE,
    flags=INSPECT_FLAGS,
    complete="config",
)
rm = Verb(
    "rm",
    _rm,
    help="Remove one or more configs",
    arguments="CONFIG [CONFIG...]",
    arity=ONE_OR_MORE,
    aliases=("remove",),
    complete="config",
)

noun = Noun(
    "config",
    {
        "create": Entry(__name__, "create", create.help or ""),
        "inspect": Entry(__name__, "inspect", inspect.help or ""),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "rm": Entry(__name__, "rm", rm.help or "", ("remove",)),
    },
    help="Manage configs",
)
