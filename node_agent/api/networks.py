"""`/networks`: one list of two worlds. Overlays of the swarm are ours, all else is the engine's; our shadow bridges are hidden."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.api.commands import CreateNetwork, RemoveNetwork
from cluster.api.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unavailable
from cluster.api.objects import Network
from cluster.api.specs import NetworkSpec
from cluster.api.states import Kind
from manager.store.snapshot import Snapshot
from node_agent.api import views
from node_agent.api.backend import LocalState, Swarm
from node_agent.api.crossings import SHADOW_LABEL, Crossings
from node_agent.api.edge import as_value, look_up
from node_agent.api.engine_link import EngineDown, EngineLink, segment
from node_agent.api.filters import Filters
from node_agent.api.messages import ApiRequest, ApiResponse, EngineReply, PassToEngine, Response, json_response, no_content
from node_agent.api.routing import Route

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_LEAVE_WITHIN = 1.5


class _Source(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    network: str = ""


class _Asked(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What of a new network's description says whose it is."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    check_duplicate: bool = False
    config_only: bool = False
    config_from: _Source = _Source()


class Networks:
    """The noun's handlers: this node's swarm beside its engine."""

    def __init__(self, swarm: Swarm, link: EngineLink, clock: Clock, crossings: Crossings) -> None:
        self._swarm = swarm
        self._link = link
        self._clock = clock
        self._crossings = crossings

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/networks", self.list),
            Route("POST", "/networks/create", self.create),
            Route("GET", "/networks/{id}", self.inspect),
            Route("DELETE", "/networks/{id}", self.remove),
        )

    async def _overlays(self) -> Snapshot | None:
        """The swarm's networks where they can be known; a worker shows its engine's alone."""
        if not self._swarm.is_manager:
            return None
        try:
            return await self._swarm.read()
        except Unavailable:
            return self._swarm.latest()

    async def list(self, request: ApiRequest) -> Response:
        filters = request.query.filters(*_FILTERS)
        now = await self._overlays()
        ours = (
            []
            if now is None
            else [views.network(row, now, version=request.version) for row in now.networks.values() if _matches(row, filters)]
        )

        async def merge(reply: EngineReply) -> ApiResponse:
            if not reply.ok:
                return json_response(ours) if ours else reply.respond()
            local = [row for row in reply.json() or () if not _shadow(row)]
            return json_response([*local, *ours])

        return PassToEngine(reply=merge)

    async def inspect(self, request: ApiRequest) -> Response:
        reference, scope = request.params["id"], request.query.get("scope")
        now = await self._overlays()
        found = None if now is None or scope not in {"", "swarm", "global"} else _find(now, reference)

        async def prefer_exact(reply: EngineReply) -> ApiResponse:
            if reply.ok and not _shadow(reply.json()):
                return reply.respond()
            raise NotFound(f"network {reference} not found")

        if found is not None and now is not None:
            containers = {**await self._containers_here(found), **views.guests_elsewhere(found, self._swarm.node_id)}
            verbose = request.query.flag("verbose")
            return json_response(views.network(found, now, version=request.version, containers=containers, verbose=verbose))
        if scope in {"swarm", "global"}:
            raise NotFound(f"network {reference} not found")
        return PassToEngine(reply=prefer_exact)

    async def _containers_here(self, network: Network) -> Mapping[str, Any]:
        """This node's containers on an overlay, tasks' and others', by their ids: the engine has them on our bridge."""
        if (bridge := self._crossings.engine_name(network.id)) is None:
            return {}
        try:
            reply = await self._link.call("GET", f"/networks/{segment(bridge)}")
        except EngineDown:
            return {}
        return (reply.json().get("Containers") or {}) if reply.ok else {}

    async def create(self, request: ApiRequest) -> Response:
        raw = await request.json(dict[str, Any])
        asked = as_value(raw, _Asked)
        name, driver = asked.name, asked.driver or "bridge"
        now = await self._overlays()
        if now is not None and (taken := now.named(Kind.NETWORK, name)) is not None:
            raise Conflict(f"network with name {name} already exists (id {taken.id})")
        if driver != "overlay" and asked.scope != "swarm":
            return PassToEngine(body=msgspec.json.encode(raw))
        if asked.config_only or asked.config_from.network:
            raise InvalidArgument("a config-only network cannot be an overlay of the swarm: give the options to the network itself")
        if self._swarm.state is LocalState.ACTIVE and not self._swarm.is_manager:
            raise Forbidden("Cannot create a multi-host network from a worker node. Please create the network from a manager node.")
        if self._swarm.is_manager and name and await self._engine_has(name):
            raise Conflict(f"network with name {name} already exists on this node's engine: remove it, or choose another name")
        spec = replace(as_value(raw, NetworkSpec), driver=driver, scope="swarm")
        outcome = await self._swarm.execute(CreateNetwork(id=self._swarm.draw_id(), spec=spec))
        return json_response({"Id": outcome.id, "Warning": ""}, status=201)

    async def _engine_has(self, name: str) -> bool:
        """Whether the name is one of the engine's own; an engine that is away has no say."""
        try:
            reply = await self._link.call("GET", "/networks", query=f"filters={quote(Filters({'name': [name]}).encode())}")
        except EngineDown:
            return False
        return reply.ok and any(row["Name"] == name and not _shadow(row) for row in reply.json() or ())

    async def remove(self, request: ApiRequest) -> Response:
        reference = request.params["id"]
        now = await self._overlays()
        found = None if now is None else _find(now, reference)
        if found is None:
            return PassToEngine()
        await self._let_guests_leave(found)
        await self._swarm.execute(RemoveNetwork(id=found.id))
        return no_content()

    async def _let_guests_leave(self, network: Network) -> None:
        """`docker rm -f` returns before the managers know that its container is off the network; people go on to remove that."""
        until = self._clock.monotonic() + _LEAVE_WITHIN
        found: Network | None = network
        while found is not None and found.guests and self._clock.monotonic() < until:
            await self._clock.sleep(0.05)
            found = (await self._swarm.read()).networks.get(network.id)


def _find(now: Snapshot, reference: str) -> Network | None:
    try:
        found: Network = look_up(now, Kind.NETWORK, reference)
    except NotFound:
        return None
    return None if found.leaving else found


def _shadow(row: dict[str, Any]) -> bool:
    return SHADOW_LABEL in (row.get("Labels") or {})


def _matches(row: Network, filters: Filters) -> bool:
    return (
        not row.leaving
        and filters.prefix("id", row.id)
        and filters.contains("name", row.spec.name)
        and filters.exact("driver", row.spec.driver)
        and filters.exact("scope", "swarm")
        and filters.exact("type", "custom")
        and filters.labels(row.spec.labels)
        and not filters.flag("dangling", default=False)
    )
