"""`/secrets` and `/configs`: two nouns of one shape. Data of a secret goes in and never comes out here."""

from collections.abc import Callable, Sequence
from typing import Any

from cluster.api.commands import (
    Command,
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateConfigObject,
    UpdateSecret,
)
from cluster.api.specs import ConfigSpec, SecretSpec
from cluster.api.states import Kind
from node_agent.api import views
from node_agent.api.backend import Swarm
from node_agent.api.edge import body_as, look_up, newest_first, table, version_of
from node_agent.api.messages import MAX_SECRET_BODY, ApiRequest, ApiResponse, json_response, no_content
from node_agent.api.routing import Route

_VIEWS: dict[Kind, Callable[[Any], dict[str, Any]]] = {Kind.SECRET: views.secret, Kind.CONFIG: views.config}


class Files:
    """The handlers of one of the two nouns."""

    def __init__(self, swarm: Swarm, kind: Kind) -> None:
        self._swarm = swarm
        self._kind = kind
        self._view = _VIEWS[kind]

    def routes(self) -> Sequence[Route]:
        base = f"/{self._kind}s"
        return (
            Route("GET", base, self.list),
            Route("POST", f"{base}/create", self.create),
            Route("GET", f"{base}/{{id}}", self.inspect),
            Route("POST", f"{base}/{{id}}/update", self.update),
            Route("DELETE", f"{base}/{{id}}", self.remove),
        )

    async def list(self, request: ApiRequest) -> ApiResponse:
        filters = request.query.filters("id", "name", "names", "label")
        now = await self._swarm.read()
        return json_response(
            [
                self._view(row)
                for row in newest_first(table(now, self._kind).values())
                if filters.prefix("id", row.id)
                and filters.contains("name", row.spec.name)
                and filters.exact("names", row.spec.name)
                and filters.labels(row.spec.labels)
            ]
        )

    async def inspect(self, request: ApiRequest) -> ApiResponse:
        return json_response(self._view(look_up(await self._swarm.read(), self._kind, request.params["id"])))

    async def create(self, request: ApiRequest) -> ApiResponse:
        fresh = self._swarm.draw_id()
        command: Command
        if self._kind is Kind.SECRET:
            command = CreateSecret(id=fresh, spec=await body_as(request, SecretSpec, at_most=MAX_SECRET_BODY))
        else:
            command = CreateConfig(id=fresh, spec=await body_as(request, ConfigSpec, at_most=MAX_SECRET_BODY))
        outcome = await self._swarm.execute(command)
        return json_response({"ID": outcome.id}, status=201)

    async def update(self, request: ApiRequest) -> ApiResponse:
        version = version_of(request, self._kind.value)
        row = look_up(await self._swarm.read(), self._kind, request.params["id"])
        fresh = self._swarm.draw_id()
        command: Command
        if self._kind is Kind.SECRET:
            secret = await body_as(request, SecretSpec, at_most=MAX_SECRET_BODY)
            command = UpdateSecret(request_id=fresh, id=row.id, version=version, spec=secret)
        else:
            config = await body_as(request, ConfigSpec, at_most=MAX_SECRET_BODY)
            command = UpdateConfigObject(request_id=fresh, id=row.id, version=version, spec=config)
        await self._swarm.execute(command)
        return ApiResponse(status=200)

    async def remove(self, request: ApiRequest) -> ApiResponse:
        row = look_up(await self._swarm.read(), self._kind, request.params["id"])
        await self._swarm.execute(RemoveSecret(id=row.id) if self._kind is Kind.SECRET else RemoveConfig(id=row.id))
        return no_content()
