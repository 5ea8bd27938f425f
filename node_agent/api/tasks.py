"""`/tasks`: what runs where, and why not."""

from collections.abc import Callable, Sequence

from cluster.api.errors import InvalidArgument, NotFound
from cluster.api.objects import Task
from cluster.api.states import Kind
from manager.orchestrator.likeness import up_to_date
from manager.store.indexes import TemplateKey
from manager.store.snapshot import Snapshot
from node_agent.api import views
from node_agent.api.backend import Swarm
from node_agent.api.edge import look_up, newest_first
from node_agent.api.filters import Filters
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route

_DESIRED = ("running", "shutdown", "accepted", "ready", "complete", "remove")


class Tasks:
    """The noun's handlers over this node's swarm."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self) -> Sequence[Route]:
        return (Route("GET", "/tasks", self.list), Route("GET", "/tasks/{id}", self.inspect))

    async def list(self, request: ApiRequest) -> ApiResponse:
        filters = request.query.filters("id", "name", "label", "service", "node", "desired-state", "_up-to-date", "runtime")
        now = await self._swarm.read()
        wanted = _selector(filters, now, self._swarm.node_id)
        return json_response([views.task(row, now) for row in newest_first(_candidates(filters, now)) if wanted(row)])

    async def inspect(self, request: ApiRequest) -> ApiResponse:
        now = await self._swarm.read()
        return json_response(views.task(look_up(now, Kind.TASK, request.params["id"]), now))


def _candidates(filters: Filters, now: Snapshot) -> Sequence[Task]:
    """The tasks worth looking at: those of the services asked for, or all."""
    if "service" not in filters:
        return list(now.tasks.values())
    services = [_resolve(now, Kind.SERVICE, reference) for reference in filters.get("service")]
    return [task for service in dict.fromkeys(services) for task in now.tasks_of(service).values()]


def _selector(filters: Filters, now: Snapshot, here: str) -> Callable[[Task], bool]:
    states = filters.get("desired-state")
    if unknown := [state for state in states if state not in _DESIRED]:
        raise InvalidArgument(f"Invalid desired-state filter: '{unknown[0]}'; use {', '.join(_DESIRED)}")
    nodes = {here if node == "self" else _resolve(now, Kind.NODE, node) for node in filters.get("node")}
    asked = filters.flag("_up-to-date", default=False) if "_up-to-date" in filters else None
    current = _current(now)

    def wanted(task: Task) -> bool:
        template = now.template_of(task)
        return (
            filters.prefix("id", task.id)
            and (not states or task.desired_state.wire in states)
            and (not nodes or task.node_id in nodes)
            and filters.contains("name", f"{template.service_name}.{task.slot or task.node_id}.{task.id}")
            and filters.labels(template.service_labels)
            and (asked is None or current(task) is asked)
            and filters.exact("runtime", template.spec.runtime or "container")
        )

    return wanted


def _current(now: Snapshot) -> Callable[[Task], bool]:
    """Tells tasks that are as their service wants them, and of a job's present run."""
    known: dict[TemplateKey, bool] = {}

    def current(task: Task) -> bool:
        service = now.services.get(task.service_id)
        if service is None or task.job_iteration != (service.job_status.job_iteration if service.job_status else 0):
            return False
        key = (task.service_id, task.template_version)
        if key not in known:
            known[key] = up_to_date(now, task, service)
        return known[key]

    return current


def _resolve(now: Snapshot, kind: Kind, reference: str) -> str:
    """An id for a filter's value. What is gone but left tasks behind is known by its id; all else is refused, as Docker does."""
    try:
        return str(look_up(now, kind, reference).id)
    except NotFound:
        left = now.tasks_of(reference) if kind is Kind.SERVICE else now.tasks_on(reference)
        if not left:
            raise
        return reference
