"""`shoal secret`: bytes that tasks can read, kept by the swarm and never shown again."""

from __future__ import annotations

from cli.command import NONE, ONE_OR_MORE, Arity, Entry, Noun, Verb
from cli.commands.service_remove import each
from cli.errors import CliError
from cli.files import body, contents, pretty, show_listing
from cli.flags import values
from cli.flags.entries import FILTER, LABELS, filters
from cli.flags.grammar import TEXT, Flag, Words
from cli.inspection import FLAGS as INSPECT_FLAGS
from cli.inspection import inspect_each
from cli.render import FORMAT, QUIET, Listing
from cli.session import Session

HEADERS = {"ID": "ID", "Name": "NAME", "Driver": "DRIVER", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED"}
LISTING = Listing({**HEADERS, "Labels": "LABELS"}, tuple(HEADERS))


def _create(session: Session, words: Words) -> None:
    flags, (name, *files) = words.flags, words.args
    if flags.text("driver"):
        if files:
            raise CliError("When using secret driver secret data must be empty")
        data = None
    elif not files:
        raise CliError('secret file is required: name one, or "-" for standard input')
    else:
        data = contents(session, "secret", files[0])
    session.say(session.client.post("/secrets/create", body(name, data, values.pairs(flags.many("label")), flags))["ID"])


def _ls(session: Session, words: Words) -> None:
    show_listing(session, LISTING, session.client.list("/secrets", filters(words.flags.many("filter"))), words.flags)


def _inspect(session: Session, words: Words) -> None:
    inspect_each(session, words, lambda name: session.client.get(f"/secrets/{name}"), pretty=lambda one: pretty(one, secret=True))


def _rm(session: Session, words: Words) -> None:
    each(session, words.args, lambda name: session.client.delete(f"/secrets/{name}"))


create = Verb(
    "create",
    _create,
    help="Make a secret of a file or of standard input",
    arguments="SECRET [file|-]",
    arity=Arity(1, 2),
    flags=(
        Flag("driver", TEXT, "Driver that holds the secret", short="d"),
        Flag("label", LABELS, "Labels of the secret", short="l"),
        Flag("template-driver", TEXT, "Template driver"),
    ),
)
ls = Verb(
    "ls",
    _ls,
    help="List secrets",
    arity=NONE,
    flags=(Flag("filter", FILTER, "Show only what fits, as in name=key", short="f"), FORMAT, QUIET),
    aliases=("list",),
)
inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more secrets in detail, but never their data",
    arguments="SECRET [SECRET...]",
    arity=ONE_OR_MORE,
    flags=INSPECT_FLAGS,
    complete="secret",
)
rm = Verb(
    "rm",
    _rm,
    help="Remove one or more secrets",
    arguments="SECRET [SECRET...]",
    arity=ONE_OR_MORE,
    aliases=("remove",),
    complete="secret",
)

noun = Noun(
    "secret",
    {
        "create": Entry(__name__, "create", create.help or ""),
        "inspect": Entry(__name__, "inspect", inspect.help or ""),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "rm": Entry(__name__, "rm", rm.help or "", ("remove",)),
    },
    help="Manage secrets",
)
