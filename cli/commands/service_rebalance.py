"""`service rebalance`: move tasks to where there are fewest, none of them stopped before its successor serves."""

from __future__ import annotations

import time
from collections.abc import Callable

from cli.client import Client
from cli.command import ANY, Verb
from cli.commands.service_ps import services_named
from cli.errors import CliError
from cli.flags.grammar import UINT, Flag, Words
from cli.flags.service import DETACH
from cli.session import Session


def _rebalance(session: Session, words: Words) -> None:
    """The named services, or every replicated one."""
    client = session.client
    found, missing = services_named(session, words.args) if words.args else (_replicated(client), [])
    at_once = words.flags.number("parallelism")
    failed = [f"no such service: {name}" for name in missing]
    asked = []
    for service_id in found:
        try:
            client.post(f"/shoal/services/{service_id}/rebalance", query={"atOnce": 1 if at_once is None else at_once})
        except CliError as refused:
            failed.append(refused.message)
        else:
            asked.append(service_id)
    for service_id in asked:
        name = client.get(f"/services/{service_id}")["Spec"]["Name"]
        if not words.flags.on("detach"):
            wait_even(client, service_id)
        session.say(name)
    if failed:
        raise CliError("\n".join(failed))


def _replicated(client: Client) -> list[str]:
    return [str(one["ID"]) for one in client.list("/services", {"mode": ["replicated"]})]


def wait_even(client: Client, service_id: str, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Until nothing moves any more."""
    while (client.get(f"/services/{service_id}").get("Shoal") or {}).get("Rebalancing"):
        pause(0.2)


rebalance = Verb(
    "rebalance",
    _rebalance,
    help="Spread the tasks of services evenly over the nodes",
    arguments="[SERVICE...]",
    arity=ANY,
    flags=(DETACH, Flag("parallelism", UINT, "Tasks of a service that move at once", default="1")),
    complete="service",
)
