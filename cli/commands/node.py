"""`shoal node`: the hosts of the swarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.client import Json
from cli.command import ANY, NONE, ONE, ONE_OR_MORE, Entry, Noun, Verb
from cli.commands.service_remove import each
from cli.errors import CliError
from cli.flags import values
from cli.flags.entries import FILTER, LABELS, filters
from cli.flags.grammar import LIST, SWITCH, TEXT, Flag, Words
from cli.flags.swarm import AVAILABILITY
from cli.render import FORMAT, QUIET, Listing, form_of, natural, show
from cli.session import Session
from cli.tasks import FLAGS as TASK_FLAGS
from cli.tasks import filtered, node_id, show_tasks, state

DRAIN_ORDER = "io.shoal.drain-order"
HEADERS = {
    "ID": "ID",
    "Self": "SELF",
    "Hostname": "HOSTNAME",
    "Status": "STATUS",
    "Availability": "AVAILABILITY",
    "ManagerStatus": "MANAGER STATUS",
    "EngineVersion": "ENGINE VERSION",
    "TLSStatus": "TLS STATUS",
}
# the table marks the own node within its id, as Docker's does
MARKED = Listing({**HEADERS, "Marked": "ID"}, ("Marked", "Hostname", "Status", "Availability", "ManagerStatus", "EngineVersion"))


def _ls(session: Session, words: Words) -> None:
    client = session.client
    nodes = client.list("/nodes", filters(words.flags.many("filter")))
    form, quiet = form_of(words.flags), words.flags.on("quiet")
    swarm: Json = {}
    if nodes and not (quiet and not form):
        swarm = (client.get("/info") or {}).get("Swarm") or {}
    rows = [row(node, swarm) for node in sorted(nodes, key=lambda one: natural(_hostname(one)))]
    if form in {"", "table"}:
        show(session, MARKED, [{**one, "Marked": one["ID"] + (" *" if one["Self"] else "")} for one in rows], form, quiet=quiet)
    else:
        show(session, Listing(HEADERS, ()), rows, form, quiet=quiet)


def _hostname(node: Json) -> str:
    return str((node.get("Description") or {}).get("Hostname") or "")


def row(node: Json, swarm: Json) -> Mapping[str, Any]:
    manager, description = node.get("ManagerStatus") or {}, node.get("Description") or {}
    reach = "Leader" if manager.get("Leader") else state(manager.get("Reachability"))
    trusted, own = (swarm.get("Cluster") or {}).get("TLSInfo"), description.get("TLSInfo")
    return {
        "ID": node["ID"],
        "Self": node["ID"] == swarm.get("NodeID"),
        "Hostname": _hostname(node),
        "Status": state((node.get("Status") or {}).get("State")),
        "Availability": state((node.get("Spec") or {}).get("Availability")),
        "ManagerStatus": reach,
        "EngineVersion": (description.get("Engine") or {}).get("EngineVersion") or "",
        "TLSStatus": "Unknown" if not trusted or not own else "Ready" if trusted == own else "Needs Rotation",
    }


def _ps(session: Session, words: Words) -> None:
    tasks, failed, seen = [], [], set()
    wanted = filters(words.flags.many("filter"))
    for name in words.args or ("self",):
        try:
            node = session.client.get(f"/nodes/{node_id(session.client, name)}")
            found = session.client.list("/tasks", {**filtered(session, wanted), "node": [node["ID"]]})
        except CliError as refused:
            failed.append(refused.message)
            continue
        tasks += [task for task in found if task["ID"] not in seen]
        seen |= {task["ID"] for task in found}
    if tasks or not failed:
        show_tasks(session, tasks, words.flags)
    if failed:
        raise CliError("\n".join(failed))


def _rm(session: Session, words: Words) -> None:
    query = {"force": True} if words.flags.on("force") else None
    each(session, words.args, lambda name: session.client.delete(f"/nodes/{name}", query))


def _update(session: Session, words: Words) -> None:
    flags = words.flags
    node = session.client.get(f"/nodes/{words.args[0]}")
    spec = dict(node["Spec"])
    if "role" in flags:
        spec["Role"] = flags.text("role").lower()
    if "availability" in flags:
        spec["Availability"] = flags.text("availability").lower()
    if flags.any("label-add", "label-rm"):
        labels = {**(spec.get("Labels") or {}), **values.pairs(flags.many("label-add"))}
        for key in flags.many("label-rm"):
            if key not in labels:
                raise CliError(f"key {key} doesn't exist in node's labels")
            del labels[key]
        spec["Labels"] = labels
    if "order" in flags or spec.get("Availability") != "drain":
        spec["Labels"] = _ordered(spec.get("Labels") or {}, flags.text("order"), availability=spec.get("Availability"))
    _post(session, node, spec)
    session.say(words.args[0])


def _ordered(labels: Mapping[str, str], order: str, *, availability: str | None) -> Mapping[str, str]:
    """The node's labels with the order of its drain among them, for as long as it is drained."""
    if order and order not in {"start-first", "stop-first"}:
        raise CliError(f'unknown order "{order}": use start-first or stop-first')
    if order and availability != "drain":
        raise CliError("--order goes with --availability drain: which comes first, a task's end or its replacement")
    others = {key: value for key, value in labels.items() if key != DRAIN_ORDER}
    return {**others, DRAIN_ORDER: order} if order == "start-first" else others


def _post(session: Session, node: Json, spec: Json) -> None:
    session.client.post(f"/nodes/{node['ID']}/update", spec, {"version": node["Version"]["Index"]})


def _promote(session: Session, words: Words) -> None:
    _set_role(session, words, "manager", "Node {} is already a manager.", "Node {} promoted to a manager in the swarm.")


def _demote(session: Session, words: Words) -> None:
    _set_role(session, words, "worker", "Node {} is already a worker.", "Manager {} demoted in the swarm.")


def _set_role(session: Session, words: Words, role: str, already: str, done: str) -> None:
    for name in words.args:
        node = session.client.get(f"/nodes/{name}")
        if node["Spec"].get("Role") == role:
            session.say(already.format(name))
            continue
        _post(session, node, {**node["Spec"], "Role": role})
        session.say(done.format(name))


ls = Verb(
    "ls",
    _ls,
    help="List the swarm's nodes",
    arity=NONE,
    flags=(Flag("filter", FILTER, "Show only what fits, as in role=manager", short="f"), FORMAT, QUIET),
    aliases=("list",),
)
ps = Verb(
    "ps",
    _ps,
    help="List the tasks of one or more nodes, of this one by default",
    arguments="[NODE...]",
    arity=ANY,
    flags=TASK_FLAGS,
    complete="node",
)
rm = Verb(
    "rm",
    _rm,
    help="Remove one or more nodes from the swarm",
    arguments="NODE [NODE...]",
    arity=ONE_OR_MORE,
    flags=(Flag("force", SWITCH, "Remove a node that is not down", short="f"),),
    aliases=("remove",),
    complete="node",
)
update = Verb(
    "update",
    _update,
    help="Change a node",
    arguments="NODE",
    arity=ONE,
    flags=(
        Flag("availability", TEXT, "active, pause or drain", complete=AVAILABILITY),
        Flag("label-add", LABELS, "Add or change a label"),
        Flag("label-rm", LIST, "Remove a label"),
        Flag("order", TEXT, "Of a drain: start-first or stop-first", default='"stop-first"', complete="start-first|stop-first"),
        Flag("role", TEXT, "worker or manager", complete="worker|manager"),
    ),
    complete="node",
)
promote = Verb(
    "promote",
    _promote,
    help="Make managers of one or more nodes",
    arguments="NODE [NODE...]",
    arity=ONE_OR_MORE,
    complete="node",
)
demote = Verb(
    "demote",
    _demote,
    help="Make workers of one or more managers",
    arguments="NODE [NODE...]",
    arity=ONE_OR_MORE,
    complete="node",
)

noun = Noun(
    "node",
    {
        "demote": Entry(__name__, "demote", demote.help or ""),
        "inspect": Entry("cli.commands.node_inspect", "inspect", "Show one or more nodes in detail"),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "promote": Entry(__name__, "promote", promote.help or ""),
        "ps": Entry(__name__, "ps", ps.help or ""),
        "rm": Entry(__name__, "rm", rm.help or "", ("remove",)),
        "update": Entry(__name__, "update", update.help or ""),
    },
    help="Manage the swarm's nodes",
)
