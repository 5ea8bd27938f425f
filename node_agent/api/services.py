"""`/services`: the specs that clients post, the list they watch. Step 2 of the path of `service create`."""

import base64
import json
from collections.abc import Sequence

from msgspec.structs import replace

from cluster.api.commands import CreateService, RemoveService, UpdateService
from cluster.api.errors import InvalidArgument
from cluster.api.ids import Id
from cluster.api.objects import Service
from cluster.api.specs import Extensions, Mode, ServiceSpec, mode_of
from cluster.api.states import Kind
from manager.allocator.room import short_of
from node_agent.api import views
from node_agent.api.backend import Swarm
from node_agent.api.edge import body_as, look_up, newest_first, version_of
from node_agent.api.extensions import HEADER, extensions_of
from node_agent.api.made_up_names import made_up_name
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route


class Services:
    """The noun's handlers over this node's swarm."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/services", self.list),
            Route("POST", "/services/create", self.create),
            Route("GET", "/services/{id}", self.inspect),
            Route("POST", "/services/{id}/update", self.update),
            Route("DELETE", "/services/{id}", self.remove),
        )

    async def list(self, request: ApiRequest) -> ApiResponse:
        filters = request.query.filters("id", "label", "mode", "name", "runtime")
        for mode in filters.get("mode"):
            if mode not in {"replicated", "global", "replicated-job", "global-job"}:
                raise InvalidArgument(f"invalid filter 'mode={mode}'")
        now = await self._swarm.read()
        status = request.query.flag("status")
        found = [
            row
            for row in newest_first(now.services.values())
            if filters.prefix("id", row.id)
            and filters.prefix("name", row.spec.name)
            and filters.labels(row.spec.labels)
            and filters.exact("mode", _filter_word(row))
            and filters.exact("runtime", row.spec.task_template.runtime or "container")
        ]
        defaults = request.query.flag("insertDefaults")
        return json_response([views.service(row, now, version=request.version, defaults=defaults, status=status) for row in found])

    async def inspect(self, request: ApiRequest) -> ApiResponse:
        now = await self._swarm.read()
        row: Service = look_up(now, Kind.SERVICE, request.params["id"])
        return json_response(views.service(row, now, version=request.version, defaults=request.query.flag("insertDefaults")))

    async def create(self, request: ApiRequest) -> ApiResponse:
        spec = await body_as(request, ServiceSpec)
        fresh = self._swarm.draw_id()
        now = self._swarm.latest()
        short = () if now is None else tuple(short_of(now, spec))
        outcome = await self._swarm.execute(
            CreateService(
                id=fresh,
                spec=spec if spec.name else replace(spec, name=self._made_up(fresh)),
                extensions=extensions_of(request.headers.get(HEADER), spec) or Extensions(),
                registry_auth=_auth(request),
            )
        )
        answer: dict[str, object] = {"ID": outcome.id}
        if warnings := (*outcome.warnings, *short):
            answer["Warnings"] = warnings
        return json_response(answer, status=201)

    def _made_up(self, fresh: Id) -> str:
        now, name = self._swarm.latest(), made_up_name(fresh)
        return name if now is None or now.named(Kind.SERVICE, name) is None else made_up_name(fresh, taken=True)

    async def update(self, request: ApiRequest) -> ApiResponse:
        version = version_of(request, "service")
        rollback = request.query.get("rollback")
        if rollback not in {"", "previous"}:
            raise InvalidArgument(f"unrecognized rollback option {rollback}")
        auth_from = request.query.get("registryAuthFrom", "spec") or "spec"
        if auth_from not in {"spec", "previous-spec"}:
            raise InvalidArgument(f"unsupported registryAuthFrom value {auth_from}")
        to = request.query.get("rollbackTo") or "0"
        if not to.isdigit():
            raise InvalidArgument(f"invalid rollbackTo {to!r}: it is a version of the service's history")
        spec = await body_as(request, ServiceSpec)
        now = await self._swarm.read()
        row: Service = look_up(now, Kind.SERVICE, request.params["id"])
        short = tuple(short_of(now, spec))
        outcome = await self._swarm.execute(
            UpdateService(
                request_id=self._swarm.draw_id(),
                id=row.id,
                version=version,
                spec=spec,
                extensions=extensions_of(request.headers.get(HEADER), spec),
                registry_auth=_auth(request),
                registry_auth_from=auth_from,
                rollback=bool(rollback) or to != "0",
                rollback_to=int(to),
            )
        )
        return json_response({"Warnings": (*outcome.warnings, *short) or None})

    async def remove(self, request: ApiRequest) -> ApiResponse:
        row: Service = look_up(await self._swarm.read(), Kind.SERVICE, request.params["id"])
        await self._swarm.execute(RemoveService(id=row.id))
        return ApiResponse(status=200)


def _auth(request: ApiRequest) -> str:
    """X-Registry-Auth, checked: it must be base64 of JSON, or nothing."""
    auth = request.headers.get("x-registry-auth")
    if not auth:
        return ""
    try:
        json.loads(base64.urlsafe_b64decode(auth + "=" * (-len(auth) % 4)))
    except ValueError as wrong:
        raise InvalidArgument("invalid X-Registry-Auth header: it must be base64url of a JSON object") from wrong
    return auth


def _filter_word(row: Service) -> str:
    return {
        Mode.REPLICATED: "replicated",
        Mode.GLOBAL: "global",
        Mode.REPLICATED_JOB: "replicated-job",
        Mode.GLOBAL_JOB: "global-job",
    }[mode_of(row.spec)]
