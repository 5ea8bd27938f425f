"""Tasks as listings show them: `service ps`, `node ps`, `stack ps` and `task ls` draw the same table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cli import human, images
from cli.client import Client, Json
from cli.errors import ApiError, CliError
from cli.flags.entries import FILTER
from cli.flags.grammar import SWITCH, Flag, Flags
from cli.render import FORMAT, Listing, form_of, natural, short_id, show, truncated
from cli.session import Session

FLAGS = (
    Flag("filter", FILTER, "Show only what fits, as in desired-state=running", short="f"),
    FORMAT,
    Flag("no-resolve", SWITCH, "Show IDs in place of names"),
    Flag("no-trunc", SWITCH, "Cut nothing short"),
    Flag("quiet", SWITCH, "Show only the tasks' IDs", short="q"),
)

HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Image": "IMAGE",
    "Node": "NODE",
    "DesiredState": "DESIRED STATE",
    "CurrentState": "CURRENT STATE",
    "Error": "ERROR",
    "Ports": "PORTS",
}
LISTING = Listing(HEADERS, tuple(HEADERS))
EXPLAINED = 20
NODES_EXPLAINED = 3


def show_tasks(session: Session, tasks: list[Json], flags: Flags, *, whole: bool = False) -> None:
    """The table of tasks, slot by slot, the newest of a slot first and the older ones hanging below it."""
    names = Names(session.client, resolve=not flags.on("no-resolve"))
    if flags.on("no-trunc") and not flags.on("quiet"):
        explain(session.client, tasks)
    now = human.utc_now()
    whole = whole or flags.on("no-trunc")
    rows, previous = [], ""
    for name, task in sorted_tasks(tasks, names):
        shown = f" \\_ {name}" if name == previous and not flags.on("quiet") else name
        previous = name
        rows.append(row(task, shown, names.node(task), now=now, whole=whole))
    show(session, LISTING, rows, form_of(flags), quiet=flags.on("quiet"))


def explain(client: Client, tasks: Iterable[Json]) -> None:
    """Add to what waiting tasks say what the nearest nodes lack, as `task why` tells it; a daemon that cannot say so is left alone."""
    waiting = [task for task in tasks if (task.get("Status") or {}).get("State") == "pending" and task["Status"].get("Err")]
    for task in waiting[:EXPLAINED]:
        try:
            answer = client.get(f"/shoal/tasks/{task['ID']}/why")
        except ApiError:
            return
        lacks = [text for node in answer["Nodes"][:NODES_EXPLAINED] for text in node["Refused"]]
        if lacks:
            if more := len(answer["Nodes"][NODES_EXPLAINED:]):
                lacks.append(f"and {more} more {'node' if more == 1 else 'nodes'}: shoal task why {task['ID'][:12]}")
            task["Status"]["Err"] = "; ".join([task["Status"]["Err"], *lacks])


class Names:
    """The names of services and nodes, each asked for once."""

    def __init__(self, client: Client, *, resolve: bool) -> None:
        self._client, self._resolve = client, resolve
        self._services: dict[str, str] = {}
        self._nodes: dict[str, str] = {}

    def task(self, task: Json) -> str:
        service = self.service(task.get("ServiceID") or "")
        if task.get("Slot"):
            return f"{service}.{task['Slot']}"
        return f"{service}.{task.get('NodeID') or ''}"

    def node(self, task: Json) -> str:
        node_id = str(task.get("NodeID") or "")
        if not node_id or not self._resolve:
            return node_id
        return self.node_name(node_id)

    def node_name(self, node_id: str) -> str:
        if node_id not in self._nodes:
            found = self._found(f"/nodes/{node_id}") or {}
            self._nodes[node_id] = (found.get("Spec") or {}).get("Name") or (found.get("Description") or {}).get("Hostname") or node_id
        return self._nodes[node_id]

    def service(self, service_id: str) -> str:
        if not self._resolve:
            return service_id
        if service_id not in self._services:
            found = self._found(f"/services/{service_id}") or {}
            self._services[service_id] = (found.get("Spec") or {}).get("Name") or service_id
        return self._services[service_id]

    def _found(self, path: str) -> Json:
        try:
            return self._client.get(path)
        except ApiError as refused:
            if refused.status == 404:
                return None
            raise


def sorted_tasks(tasks: Iterable[Json], names: Names) -> list[tuple[str, Json]]:
    """By name, naturally; within a name the newest first."""
    newest_first = sorted(tasks, key=lambda task: str(task.get("CreatedAt", "")), reverse=True)
    return sorted(((names.task(task), task) for task in newest_first), key=lambda pair: natural(pair[0]))


def row(task: Json, name: str, node: str, *, now: datetime, whole: bool) -> Mapping[str, Any]:
    status = task.get("Status") or {}
    image = ((task.get("Spec") or {}).get("ContainerSpec") or {}).get("Image") or ""
    error = status.get("Err") or ""
    if not whole:
        image, error = images.bare(image), truncated(error, 30)
    return {
        "ID": task["ID"] if whole else short_id(task["ID"]),
        "Name": name,
        "Image": image,
        "Node": node,
        "DesiredState": state(task.get("DesiredState")),
        "CurrentState": f"{state(status.get('State'))} {human.ago(status['Timestamp'], now=now).lower()}".strip()
        if status.get("Timestamp")
        else state(status.get("State")),
        "Error": f'"{error}"' if error else "",
        "Ports": ",".join(
            f"*:{port.get('PublishedPort', 0)}->{port.get('TargetPort', 0)}/{port.get('Protocol', 'tcp')}"
            for port in (status.get("PortStatus") or {}).get("Ports") or ()
        ),
    }


def state(word: str | None) -> str:
    return (word or "").capitalize()


def filtered(session: Session, wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The task filters with the names of nodes turned into ids, as the API wants them."""
    found = {key: list(values) for key, values in wanted.items()}
    if "node" in found:
        found["node"] = [node_id(session.client, name) for name in found["node"]]
    return found


def node_id(client: Client, name: str) -> str:
    """A node's id; `self` is the node that the daemon runs on."""
    if name == "self":
        own = ((client.get("/info") or {}).get("Swarm") or {}).get("NodeID")
        if not own:
            # not a node, or not a manager: the manager's own words are the best answer
            client.get("/nodes")
            raise CliError("node ID not found in /info")
        return str(own)
    try:
        return str(client.get(f"/nodes/{name}")["ID"])
    except ApiError as refused:
        if refused.status == 404:
            return name
        raise
