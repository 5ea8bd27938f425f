"""`/shoal/services/ID/why`, `/history`, `/rebalance` and `/shoal/tasks/ID/why`: what Docker's API has no words for."""

from collections.abc import Sequence

import msgspec

from cluster.api.commands import RebalanceService
from cluster.api.errors import InvalidArgument
from cluster.api.objects import PastSpec, Service, Task
from cluster.api.states import Kind
from manager import why
from manager.scheduler.explain import Refusal
from manager.store.snapshot import Snapshot
from node_agent.api import views
from node_agent.api.backend import Swarm
from node_agent.api.edge import look_up
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route
from node_agent.api.views import Json


class Orchestration:
    """The handlers over this node's swarm."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/shoal/services/{id}/why", self.why_service),
            Route("GET", "/shoal/tasks/{id}/why", self.why_task),
            Route("GET", "/shoal/services/{id}/history", self.history),
            Route("POST", "/shoal/services/{id}/rebalance", self.rebalance),
        )

    async def why_service(self, request: ApiRequest) -> ApiResponse:
        now = await self._swarm.read()
        row: Service = look_up(now, Kind.SERVICE, request.params["id"])
        return json_response(service_why(why.of_service(now, row), now))

    async def why_task(self, request: ApiRequest) -> ApiResponse:
        now = await self._swarm.read()
        row: Task = look_up(now, Kind.TASK, request.params["id"])
        return json_response(task_why(why.of_task(now, row), now))

    async def history(self, request: ApiRequest) -> ApiResponse:
        """The present spec first."""
        row: Service = look_up(await self._swarm.read(), Kind.SERVICE, request.params["id"])
        present = PastSpec(version=row.spec_version, spec=row.spec, extensions=row.extensions)
        return json_response([_past(one) for one in (present, *row.history)])

    async def rebalance(self, request: ApiRequest) -> ApiResponse:
        text = request.query.get("atOnce") or "1"
        if not text.isdigit() or not int(text):
            raise InvalidArgument(f"invalid atOnce {text!r}: it is how many tasks may move at a time, 1 or more")
        row: Service = look_up(await self._swarm.read(), Kind.SERVICE, request.params["id"])
        await self._swarm.execute(RebalanceService(request_id=self._swarm.draw_id(), id=row.id, at_once=int(text)))
        return ApiResponse(status=200)


def service_why(answer: why.ServiceWhy, now: Snapshot) -> Json:
    return {
        "ID": answer.service.id,
        "Name": answer.service.spec.name,
        "RunningTasks": answer.running,
        "DesiredTasks": answer.desired,
        **({} if answer.completed is None else {"CompletedTasks": answer.completed}),
        "Reasons": list(answer.reasons),
        "Tasks": [task_why(one, now) for one in answer.tasks],
    }


def task_why(answer: why.TaskWhy, now: Snapshot) -> Json:
    node = now.nodes.get(answer.task.node_id)
    return {
        "ID": answer.task.id,
        "Name": answer.name,
        "ServiceID": answer.task.service_id,
        "State": answer.task.state.wire,
        "DesiredState": answer.task.desired_state.wire,
        "Node": "" if node is None else node.description.hostname,
        "Reasons": list(answer.reasons),
        "Nodes": [_refusal(one) for one in answer.nodes],
    }


def _refusal(one: Refusal) -> Json:
    return {"ID": one.node_id, "Hostname": one.hostname, "Refused": list(one.texts)}


def _past(one: PastSpec) -> Json:
    shown: Json = {"Version": {"Index": one.version}, "ReplacedAt": views.timestamp(one.at), "Spec": views.service_spec(one.spec)}
    if extensions := msgspec.to_builtins(one.extensions):
        shown["Shoal"] = extensions
    return shown
