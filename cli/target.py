"""Which container a word means: that of a service with one running task, of SERVICE.SLOT, of a task, or itself one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cli.client import Client, Json
from cli.errors import ApiError, CliError

SHOWN = 5
Hostname = Callable[[str], str]
"""Of a node's id."""


def container_of(client: Client, word: str, *, slot: str = "") -> str:
    """The container's id; a word that names no service and no task is a container's name. Raises CliError for what could be several."""
    service, of_slot = _service(client, word)
    if service is None:
        task = _ask(client, f"/tasks/{word}")
        if task is not None:
            return container_of_task(task, word)
        if slot:
            raise CliError(f"--slot {slot} takes a service, and {word} is none: name one that `shoal service ls` shows")
        return word
    name = service["Spec"]["Name"]
    if slot and of_slot and slot != of_slot:
        raise CliError(f"{word} and --slot {slot} name two slots: leave one of them out")
    tasks = client.list("/tasks", {"service": [service["ID"]], "desired-state": ["running"]})

    def hostname(node_id: str) -> str:
        node = _ask(client, f"/nodes/{node_id}") or {}
        return str((node.get("Description") or {}).get("Hostname") or node_id)

    return choose(name, [task for task in tasks if _is_running(task)], slot=slot or of_slot, hostname=hostname)


def choose(service: str, running: Sequence[Json], *, slot: str, hostname: Hostname) -> str:
    """The container of the one task that is meant; for a global service `slot` is a node's id or name. Pure but for `hostname`."""
    fitting = [task for task in running if not slot or slot in _places(task, hostname)]
    if len(fitting) == 1:
        return container_of_task(fitting[0], service)
    if not fitting:
        what = f"{service}.{slot}" if slot else f"service {service}"
        where = (
            f"; there are {_named(service, running, hostname)}" if running else f": `shoal service why {service}` tells what it waits for"
        )
        raise CliError(f"{what} has no running task{where}")
    raise CliError(f"service {service} has {len(fitting)} running tasks: name one, as {_named(service, fitting, hostname)}")


def container_of_task(task: Json, word: str) -> str:
    """Raises CliError for a task that has none, or none that runs."""
    status = task.get("Status") or {}
    container = (status.get("ContainerStatus") or {}).get("ContainerID")
    if not _is_running(task):
        state = status.get("State") or "new"
        raise CliError(f"task {word} is {state}, and a command needs a running one: `shoal task why {word}` tells more")
    return str(container)


def _service(client: Client, word: str) -> tuple[Json, str]:
    """A service and the slot that a word names; names of services have no dots."""
    name, _, slot = word.partition(".")
    if "." in slot:  # the name of a container
        return None, ""
    return _ask(client, f"/services/{name}"), slot


def _ask(client: Client, path: str) -> Json:
    """None if it is not there, or if this node cannot say: a worker serves its own containers all the same."""
    try:
        return client.get(path)
    except ApiError as refused:
        if refused.status in (404, 503):
            return None
        raise


def _is_running(task: Json) -> bool:
    status = task.get("Status") or {}
    return status.get("State") == "running" and bool((status.get("ContainerStatus") or {}).get("ContainerID"))


def _places(task: Json, hostname: Hostname) -> tuple[str, ...]:
    slot = task.get("Slot")
    return (str(slot),) if slot else (str(task["NodeID"]), hostname(task["NodeID"]))


def _named(service: str, tasks: Sequence[Json], hostname: Hostname) -> str:
    ordered = sorted(tasks, key=lambda task: (int(task.get("Slot") or 0), str(task["NodeID"])))
    named = []
    for task in ordered[:SHOWN]:
        node = hostname(task["NodeID"])
        named.append(f"{service}.{task['Slot']} (on {node})" if task.get("Slot") else f"{service}.{node}")
    if len(ordered) > SHOWN:
        named.append(f"{len(ordered) - SHOWN} more")
    return ", ".join(named)
