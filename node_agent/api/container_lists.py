"""`GET /containers/json`: filters, where the engine knows our networks by other names and our tasks as any containers. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from node_agent.api.filters import Filters
from node_agent.api.messages import Query

TASK_LABEL = "shoal.cluster"
"""On each container of a task."""


class Asked(NamedTuple):
    """A list as the engine can be asked for it, and which of what it lists was meant."""

    query: str | None
    """None: as it came."""
    tasks: bool | None = None
    """Only containers of tasks, or only others."""

    def meant(self, container: Mapping[str, Any]) -> bool:
        return self.tasks is None or self.tasks == (TASK_LABEL in (container.get("Labels") or {}))


def asked_of_engine(query: Query, engine_name: Callable[[str], str | None]) -> Asked:
    """Docker's filters `network` (name or id) and `is-task` in the engine's terms. Raises InvalidArgument."""
    filters = Filters.parse(query.get("filters"))
    if "network" not in filters and "is-task" not in filters:
        return Asked(None)
    tasks = filters.flag("is-task", default=False) if filters.get("is-task") else None
    networks = [engine_name(name) or name for name in filters.get("network")]
    changed = filters.without("is-task", "network").plus("network", *networks) if networks else filters.without("is-task")
    if tasks:
        changed = changed.plus("label", TASK_LABEL)  # so that `limit` counts tasks
    return Asked(urlencode([*((key, value) for key, value in query.pairs if key != "filters"), ("filters", changed.encode())]), tasks)
