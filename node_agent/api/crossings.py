"""Where both worlds meet on the way to the engine: sockets, networks, prune.

A container that mounts the engine's socket gets ours, so that what runs in it sees the swarm. A container may ask for a network of the
cluster, which to the engine is a bridge of another name, and is shown by its own. Prune never touches what is ours.
"""

import posixpath
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec

from cluster.api.errors import ShoalError
from node_agent.api.container_lists import TASK_LABEL, asked_of_engine
from node_agent.api.engine_link import EngineLink, segment
from node_agent.api.filters import Filters
from node_agent.api.messages import ApiRequest, ApiResponse, EngineReply, PassToEngine, Response, json_response
from node_agent.api.moments import SECOND, moment
from node_agent.api.routing import Route
from node_agent.api.versions import ApiVersion

Json = Mapping[str, Any]

ENGINE_SOCKETS = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
SHADOW_LABEL = "shoal.network"  # on each bridge that stands for a network of the cluster
SHADOW_PREFIX = "shoal-"
_CHOOSES_MAC = ApiVersion(1, 44)
_SHADOW_IN_WORDS = re.compile(rf"\b{SHADOW_PREFIX}[0-9a-z]{{12}}\b")


class EngineEndpoint(NamedTuple):
    """What a network of the cluster is to the engine: the bridge's name, and the settings (the address) for one container on it."""

    network: str
    settings: Json
    guest: str = ""
    """What the managers know the container by."""
    nameserver: str = ""
    """Where names of the network are answered."""


class ShownNetwork(NamedTuple):
    """What a bridge of ours is called in front of clients."""

    id: str
    name: str


class Crossings(Protocol):
    """What the composition root knows of the cluster's networks on this node."""

    async def endpoint(self, network: str, settings: Json, *, container: Json) -> EngineEndpoint | None:
        """Make a network of the cluster ready for a container here; None for a name or id that is the engine's own.

        `container`: its `Name`, if it has one yet, and its `HostConfig` when it is about to be created.
        Raises what the client should be told: not attachable, no address left, not here.
        """
        ...

    async def withdraw(self, endpoints: Sequence[EngineEndpoint]) -> None:
        """The engine refused the container for which these were made ready."""
        ...

    async def joined(self) -> None:
        """The engine has connected a container: know it before the client goes on, who may disconnect it at once."""
        ...

    def engine_name(self, network: str) -> str | None:
        """The bridge of a network of the cluster that is here already; None otherwise."""
        ...

    def shown(self, bridge: str) -> ShownNetwork | None:
        """What a bridge stands for; None for one that stands for nothing."""
        ...


class NoCrossings:
    """A node without networks of a cluster."""

    async def endpoint(self, network: str, settings: Json, *, container: Json) -> EngineEndpoint | None:  # noqa: ARG002
        return None

    async def withdraw(self, endpoints: Sequence[EngineEndpoint]) -> None:  # noqa: ARG002
        return

    async def joined(self) -> None:
        return

    def engine_name(self, network: str) -> str | None:  # noqa: ARG002
        return None

    def shown(self, bridge: str) -> ShownNetwork | None:  # noqa: ARG002
        return None


def is_shadow(network: Json) -> bool:
    """Whether a network of the engine stands for one of the cluster: it is listed by that name only."""
    return SHADOW_LABEL in (network.get("Labels") or {}) or _is_shadow_name(network.get("Name", ""))


def _is_shadow_name(name: str) -> bool:
    rest = name.removeprefix(SHADOW_PREFIX)
    return rest != name and len(rest) == 12 and rest.isalnum()


# -- sockets -----------------------------------------------------------------------------------------------------------------


def with_our_socket(host_config: Json, *, socket_path: str) -> Json:
    """A HostConfig in which every bind of the engine's socket is one of ours."""
    binds = host_config.get("Binds") or ()
    mounts = host_config.get("Mounts") or ()
    changed: dict[str, Any] = {}
    if any(_is_engine_socket(bind.partition(":")[0]) for bind in binds):
        changed["Binds"] = [_rebound(bind, socket_path) for bind in binds]
    if any(_mounts_engine_socket(mount) for mount in mounts):
        changed["Mounts"] = [{**mount, "Source": socket_path} if _mounts_engine_socket(mount) else mount for mount in mounts]
    return {**host_config, **changed} if changed else host_config


def _is_engine_socket(path: object) -> bool:
    return isinstance(path, str) and path.startswith("/") and posixpath.normpath(path) in ENGINE_SOCKETS


def _mounts_engine_socket(mount: Json) -> bool:
    return mount.get("Type") == "bind" and _is_engine_socket(mount.get("Source"))


def _rebound(bind: str, socket_path: str) -> str:
    source, colon, rest = bind.partition(":")
    return f"{socket_path}{colon}{rest}" if _is_engine_socket(source) else bind


# -- networks ----------------------------------------------------------------------------------------------------------------


async def with_engine_networks(body: Json, crossings: Crossings, *, name: str = "") -> tuple[Json, Sequence[EngineEndpoint]]:
    """The body of a create in which the cluster's networks go by the engine's names, and what was made ready for it."""
    host_config: Json = body.get("HostConfig") or {}
    mode = host_config.get("NetworkMode", "")
    asked: dict[str, Json] = {
        name: settings or {} for name, settings in ((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}).items()
    }
    if mode and mode not in asked and mode not in {"default", "bridge", "host", "none"} and ":" not in mode:
        asked = {mode: {}, **asked}
    container = {"Name": name, "HostConfig": host_config}
    crossed: dict[str, EngineEndpoint] = {}
    try:
        for network, settings in asked.items():
            if (endpoint := await crossings.endpoint(network, settings, container=container)) is not None:
                crossed[network] = endpoint
    except ShoalError:
        await crossings.withdraw(list(crossed.values()))
        raise
    if not crossed:
        return body, ()
    endpoints = {
        crossed[network].network if network in crossed else network: crossed[network].settings if network in crossed else asked[network]
        for network in asked
    }
    servers = [endpoint.nameserver for endpoint in crossed.values() if endpoint.nameserver][:1]
    changed_host = {**host_config, **({"Dns": servers} if servers else {})}
    if mode in crossed:
        changed_host["NetworkMode"] = crossed[mode].network
    return {**body, "NetworkingConfig": {"EndpointsConfig": endpoints}, "HostConfig": changed_host}, list(crossed.values())


def shown_container(container: Json, crossings: Crossings) -> Json:
    """An inspected or listed container with the cluster's networks by their own names."""
    changed = dict(container)
    settings = container.get("NetworkSettings") or {}
    networks: Mapping[str, Json] = settings.get("Networks") or {}
    shown = {name: stands_for for name in networks if (stands_for := crossings.shown(name)) is not None}
    if shown:
        renamed = {
            (shown[name].name if name in shown else name): ({**endpoint, "NetworkID": shown[name].id} if name in shown else endpoint)
            for name, endpoint in networks.items()
        }
        changed["NetworkSettings"] = {**settings, "Networks": renamed}
    host_config = container.get("HostConfig") or {}
    if (mode := crossings.shown(host_config.get("NetworkMode", ""))) is not None:
        changed["HostConfig"] = {**host_config, "NetworkMode": mode.name}
    return changed


def shown_refusal(reply: EngineReply, crossings: Crossings) -> ApiResponse:
    """The engine's words about a bridge of ours, said of the cluster's network."""

    def named(found: re.Match[str]) -> str:
        network = crossings.shown(found[0])
        return found[0] if network is None else network.name

    return json_response({"message": _SHADOW_IN_WORDS.sub(named, reply.message)}, status=reply.status)


def shown_event(line: bytes, crossings: Crossings) -> bytes | None:
    """An event of the engine with the cluster's networks by their own names; None for the coming and going of a bridge of ours."""
    if f'"{SHADOW_PREFIX}'.encode() not in line:
        return line
    event: dict[str, Any] = msgspec.json.decode(line)
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    name = attributes.get("name", "")
    if event.get("Type") != "network" or not _is_shadow_name(name):
        return line
    network = crossings.shown(name)
    if network is None or event.get("Action") not in {"connect", "disconnect"}:
        return None
    shown = {**event, "Actor": {"ID": network.id, "Attributes": {**attributes, "name": network.name, "type": "overlay"}}}
    return msgspec.json.encode(shown) + b"\n"


# -- prune -------------------------------------------------------------------------------------------------------------------


class Prunable(NamedTuple):
    """How what is unused of one kind is listed, removed and reported."""

    ours: str  # the label that keeps prune away
    listing: str
    listing_query: str
    removal: str
    report: str
    name: str


CONTAINERS = Prunable(
    TASK_LABEL,
    "/containers/json",
    urlencode({"all": "1", "size": "1", "filters": '{"status":{"created":true,"exited":true,"dead":true}}'}),
    "/containers",
    "ContainersDeleted",
    "Id",
)
NETWORKS = Prunable(
    SHADOW_LABEL,
    "/networks",
    urlencode({"filters": '{"dangling":{"true":true},"type":{"custom":true}}'}),
    "/networks",
    "NetworksDeleted",
    "Name",
)


class Meeting:
    """The routes of the requests that are changed on their way to the engine or back."""

    def __init__(self, link: EngineLink, crossings: Crossings, *, our_socket: str | None) -> None:
        self._link, self._crossings, self._our_socket = link, crossings, our_socket

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/containers/create", self.create),
            Route("GET", "/containers/json", self.list_containers),
            Route("GET", "/containers/{id}/json", self.inspect_container),
            Route("POST", "/containers/prune", self.pruning(CONTAINERS)),
            Route("POST", "/networks/prune", self.pruning(NETWORKS)),
            Route("POST", "/networks/{id:*}/connect", self.connect),
            Route("POST", "/networks/{id:*}/disconnect", self.disconnect),
            Route("GET", "/networks", self.list_networks),
        ]

    def show_event(self, line: bytes) -> bytes | None:
        """For `Events`."""
        return shown_event(line, self._crossings)

    async def create(self, request: ApiRequest) -> Response:
        body = await request.json(dict[str, Any])
        changed: Json = body
        if self._our_socket is not None and isinstance(body.get("HostConfig"), dict):
            changed = {**body, "HostConfig": with_our_socket(body["HostConfig"], socket_path=self._our_socket)}
        changed, endpoints = await with_engine_networks(changed, self._crossings, name=request.query.get("name") or "")
        if not endpoints:
            return PassToEngine(body=msgspec.json.encode(changed))

        async def withdrawn_if_refused(reply: EngineReply) -> ApiResponse:
            if not reply.ok:
                await self._crossings.withdraw(endpoints)
                return shown_refusal(reply, self._crossings)
            return reply.respond()

        return PassToEngine(body=msgspec.json.encode(changed), reply=withdrawn_if_refused)

    async def list_containers(self, request: ApiRequest) -> Response:
        asked = asked_of_engine(request.query, self._crossings.engine_name)

        async def meant(reply: EngineReply) -> ApiResponse:
            if not reply.ok or (asked.tasks is None and not _names_a_shadow(reply)):
                return reply.respond()
            return json_response([shown_container(one, self._crossings) for one in reply.json() or () if asked.meant(one)])

        return PassToEngine(query=asked.query, reply=meant)

    async def inspect_container(self, _: ApiRequest) -> Response:
        async def renamed(reply: EngineReply) -> ApiResponse:
            if not reply.ok or not _names_a_shadow(reply):
                return reply.respond()
            return json_response(shown_container(reply.json(), self._crossings))

        return PassToEngine(reply=renamed)

    async def connect(self, request: ApiRequest) -> Response:
        body = await request.json(dict[str, Any])
        container = {"Name": body.get("Container") or ""}
        endpoint = await self._crossings.endpoint(request.params["id"], body.get("EndpointConfig") or {}, container=container)
        if endpoint is None:
            return PassToEngine(body=msgspec.json.encode(body))
        settings = dict(endpoint.settings)
        if (await self._link.versions()).newest < _CHOOSES_MAC:  # it derives the same one from the address
            settings.pop("MacAddress", None)
        changed = {**body, "EndpointConfig": settings}

        async def joined_unless_refused(reply: EngineReply) -> ApiResponse:
            if not reply.ok:
                await self._crossings.withdraw([endpoint])
                return shown_refusal(reply, self._crossings)
            await self._crossings.joined()
            return reply.respond()

        path = f"/networks/{segment(endpoint.network)}/connect"
        return PassToEngine(path=path, body=msgspec.json.encode(changed), reply=joined_unless_refused)

    async def disconnect(self, request: ApiRequest) -> Response:
        bridge = self._crossings.engine_name(request.params["id"])
        if bridge is None:
            return PassToEngine()

        async def shown(reply: EngineReply) -> ApiResponse:
            return reply.respond() if reply.ok else shown_refusal(reply, self._crossings)

        return PassToEngine(path=f"/networks/{segment(bridge)}/disconnect", reply=shown)

    async def list_networks(self, _: ApiRequest) -> Response:
        async def without_shadows(reply: EngineReply) -> ApiResponse:
            if not reply.ok:
                return reply.respond()
            return json_response([network for network in reply.json() or () if not is_shadow(network)])

        return PassToEngine(reply=without_shadows)

    def pruning(self, kind: Prunable) -> Callable[[ApiRequest], Awaitable[Response]]:
        async def prune(request: ApiRequest) -> Response:
            filters = request.query.filters("label", "label!", "until")
            if "label!" not in filters:
                return PassToEngine(query=urlencode({"filters": filters.plus("label!", kind.ours).encode()}))
            # Docker keeps what has *all* of the labels named, so ours cannot be added to others: it would keep less.
            return await self._prune_one_by_one(kind, filters)

        return prune

    async def _prune_one_by_one(self, kind: Prunable, filters: Filters) -> ApiResponse:
        listed = await self._link.call("GET", kind.listing, query=kind.listing_query)
        if not listed.ok:
            return listed.respond()
        before = min((moment(text, now=time.time_ns(), name="until") for text in filters.get("until")), default=None)
        deleted, reclaimed = [], 0
        for thing in listed.json() or ():
            if (
                _is_prunable(thing, kind, filters, before)
                and (await self._link.call("DELETE", f"{kind.removal}/{segment(thing['Id'])}")).ok
            ):
                deleted.append(thing[kind.name])
                reclaimed += thing.get("SizeRw") or 0
        report: dict[str, Any] = {kind.report: deleted or None}
        return json_response({**report, "SpaceReclaimed": reclaimed} if kind is CONTAINERS else report)


def _names_a_shadow(reply: EngineReply) -> bool:
    return f'"{SHADOW_PREFIX}'.encode() in reply.body


def _is_prunable(thing: Json, kind: Prunable, filters: Filters, before: int | None) -> bool:
    labels, created = thing.get("Labels"), thing.get("Created", 0)
    made = created * SECOND if isinstance(created, int) else moment(str(created), now=0)
    if before is not None and made >= before:
        return False
    return kind.ours not in (labels or {}) and filters.labels(labels) and not filters.spares(labels)
