"""`shoal stack`: services that belong together, from a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from cli.client import Client
from cli.command import NONE, ONE, ONE_OR_MORE, Entry, Noun, Verb
from cli.commands.service_list import show_services
from cli.errors import CliError
from cli.flags.entries import FILTER, filters
from cli.flags.grammar import SWITCH, Flag, Words
from cli.render import FORMAT, QUIET, Listing, form_of, natural, show
from cli.session import Session
from cli.tasks import FLAGS as TASK_FLAGS
from cli.tasks import filtered, show_tasks

NAMESPACE = "com.docker.stack.namespace"
HEADERS = {"Name": "NAME", "Services": "SERVICES"}
LISTING = Listing(HEADERS, tuple(HEADERS))
PARTS = ("service", "secret", "config", "network")


def stack_name(text: str) -> str:
    """A stack's name, which labels and name prefixes are made of."""
    if not text.strip() or any(character in text for character in " \t\"'"):
        raise CliError(f'invalid stack name: "{text}"')
    return text


def _ls(session: Session, words: Words) -> None:
    labels = [(one["Spec"].get("Labels") or {}).get(NAMESPACE) for one in session.client.list("/services", {"label": [NAMESPACE]})]
    counts = Counter(name for name in labels if name)
    rows = [{"Name": name, "Services": str(counts[name])} for name in sorted(counts, key=natural)]
    show(session, LISTING, rows, form_of(words.flags))


def _ps(session: Session, words: Words) -> None:
    name = stack_name(words.args[0])
    wanted = filtered(session, filters(words.flags.many("filter")))
    wanted["label"] = [*wanted.get("label", []), f"{NAMESPACE}={name}"]
    tasks = session.client.list("/tasks", wanted)
    if not tasks:
        raise CliError(f"nothing found in stack: {name}")
    show_tasks(session, tasks, words.flags)


def _services(session: Session, words: Words) -> None:
    name = stack_name(words.args[0])
    wanted = filters(words.flags.many("filter"))
    wanted["label"] = [*wanted.get("label", []), f"{NAMESPACE}={name}"]
    services = session.client.list("/services", wanted, status=True)
    if not services:
        session.warn(f"Nothing found in stack: {name}")
        return
    show_services(session, services, form_of(words.flags), quiet=words.flags.on("quiet"))


def _rm(session: Session, words: Words) -> None:
    from cli.deployment import labelled, remove  # noqa: PLC0415 - brings in the whole of stack_specs

    failed = []
    for name in map(stack_name, words.args):
        found = {kind: labelled(session, f"/{kind}s", name) for kind in PARTS}
        if not any(found.values()):
            session.warn(f"Nothing found in stack: {name}")
            continue
        removed = [remove(session, kind, objects) for kind, objects in found.items()]
        if not all(removed):
            failed.append(f"Failed to remove some resources from stack: {name}")
        elif not words.flags.on("detach"):
            wait_gone(session.client, name)
    if failed:
        raise CliError("\n".join(failed))


def wait_gone(client: Client, stack: str, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Until no task of the stack has a container left."""
    while any(
        (task.get("Status") or {}).get("State") not in {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
        for task in client.list("/tasks", {"label": [f"{NAMESPACE}={stack}"]})
    ):
        pause(0.2)


ls = Verb("ls", _ls, help="List stacks", arity=NONE, flags=(FORMAT,), aliases=("list",))
ps = Verb("ps", _ps, help="List the tasks of a stack", arguments="STACK", arity=ONE, flags=TASK_FLAGS, complete="stack")
services = Verb(
    "services",
    _services,
    help="List the services of a stack",
    arguments="STACK",
    arity=ONE,
    flags=(Flag("filter", FILTER, "Show only what fits, as in name=web", short="f"), FORMAT, QUIET),
    complete="stack",
)
rm = Verb(
    "rm",
    _rm,
    help="Remove one or more stacks",
    arguments="STACK [STACK...]",
    arity=ONE_OR_MORE,
    flags=(Flag("detach", SWITCH, "Do not wait until the stack's tasks are gone", short="d"),),
    aliases=("remove", "down"),
    complete="stack",
)

noun = Noun(
    "stack",
    {
        "config": Entry("cli.commands.stack_deploy", "config", "Show the stack's files merged and with their variables filled in"),
        "deploy": Entry("cli.commands.stack_deploy", "deploy", "Deploy a new stack, or change one", ("up",)),
        "diff": Entry("cli.commands.stack_deploy", "diff", "Show what a deploy would create, change and remove"),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "ps": Entry(__name__, "ps", ps.help or ""),
        "rm": Entry(__name__, "rm", rm.help or "", ("remove", "down")),
        "services": Entry(__name__, "services", services.help or ""),
    },
    help="Manage stacks",
)
