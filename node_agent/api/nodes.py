"""`/nodes`: the members of the swarm."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.api.commands import RemoveNode, UpdateNode
from cluster.api.errors import InvalidArgument, NotFound
from cluster.api.objects import Node
from cluster.api.specs import NodeSpec
from cluster.api.states import Availability, Kind, Membership, Role
from manager.store.snapshot import Snapshot
from node_agent.api import views
from node_agent.api.backend import Swarm
from node_agent.api.edge import as_value, look_up, newest_first, version_of
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route
from node_agent.api.swarm import tls_info


class Nodes:
    """The noun's handlers over this node's swarm."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/nodes", self.list),
            Route("GET", "/nodes/{id}", self.inspect),
            Route("POST", "/nodes/{id}/update", self.update),
            Route("DELETE", "/nodes/{id}", self.remove),
        )

    async def list(self, request: ApiRequest) -> ApiResponse:
        filters = request.query.filters("id", "label", "node.label", "membership", "name", "role")
        _check_words(filters.get("role"), Role, "role")
        _check_words(filters.get("membership"), Membership, "membership")
        now = await self._swarm.read()
        managers = self._swarm.managers()
        issuer = _issuer(now)
        return json_response(
            [
                views.node(row, managers, tls_info=issuer)
                for row in newest_first(now.nodes.values())
                if filters.prefix("id", row.id)
                and filters.prefix("name", row.description.hostname)
                and filters.labels(row.description.engine.labels)
                and filters.labels(row.spec.labels, name="node.label")
                and filters.exact("membership", row.membership.value)
                and filters.exact("role", row.spec.role.value)
            ]
        )

    async def inspect(self, request: ApiRequest) -> ApiResponse:
        now = await self._swarm.read()
        reference = request.params["id"]
        row: Node = look_up(now, Kind.NODE, self._swarm.node_id if reference == "self" else reference)
        return json_response(views.node(row, self._swarm.managers(), tls_info=_issuer(now)))

    async def update(self, request: ApiRequest) -> ApiResponse:
        version = version_of(request, "node")
        spec = spec_from(await request.json(dict[str, Any]))
        row = await self._named(request)
        await self._swarm.execute(UpdateNode(request_id=self._swarm.draw_id(), id=row.id, version=version, spec=spec))
        return ApiResponse(status=200)

    async def remove(self, request: ApiRequest) -> ApiResponse:
        row = await self._named(request)
        await self._swarm.execute(RemoveNode(id=row.id, force=request.query.flag("force")))
        return ApiResponse(status=200)

    async def _named(self, request: ApiRequest) -> Node:
        """Docker knows `self` for reading only."""
        reference = request.params["id"]
        if reference == "self":
            raise NotFound("node self not found")
        row: Node = look_up(await self._swarm.read(), Kind.NODE, reference)
        return row


def spec_from(raw: Mapping[str, Any]) -> NodeSpec:
    """The spec a client posts. Role and availability must be said: one left out would demote a manager, or fill a drained node."""
    shown = {name.lower(): value for name, value in raw.items()}
    for member, words in (("Role", list[str](Role)), ("Availability", list[str](Availability))):
        given = str(shown.get(member.lower()) or "").lower()
        if given not in words:
            raise InvalidArgument(f'invalid {member}: "{given}"; use {", ".join(words[:-1])} or {words[-1]}')
        shown[member.lower()] = given
    return as_value(shown, NodeSpec)


def _check_words(asked: Iterable[str], words: Iterable[str], name: str) -> None:
    for word in asked:
        if word not in list(words):
            raise InvalidArgument(f"Invalid {name} filter: '{word}'; use {' or '.join(words)}")


def _issuer(now: Snapshot) -> dict[str, Any]:
    """What clients hold a node's certificate against: they call it out of date if it is not the cluster's own."""
    return tls_info(now.cluster) if now.cluster is not None else {}
