"""A request on its way to the engine, as a value that can be looked at and changed. Pure."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from node_agent.api.engine_link import EngineLink
from node_agent.api.messages import Query

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request on its way to the engine."""

    method: str
    path: str
    query: Query
    body: Json | None = None  # its JSON, where a row looks at it; else the body goes as it comes
    media_type: str = ""  # what the answer's stream is called in place of the engine's word
    then: Callable[[EngineLink], Coroutine[Any, Any, None]] | None = None  # to be done once the engine has begun to answer

    @property
    def json(self) -> Json:
        return self.body or {}

    @property
    def host_config(self) -> Json:
        return self.json.get("HostConfig") or {}

    @property
    def mounts(self) -> list[Json]:
        return list(self.host_config.get("Mounts") or ())

    @property
    def endpoints(self) -> dict[str, Json]:
        """The networks asked for, with their settings."""
        if "EndpointConfig" in self.json:
            return {self.json.get("Container", ""): self.json["EndpointConfig"] or {}}
        networking = self.json.get("NetworkingConfig") or {}
        return {name: settings or {} for name, settings in (networking.get("EndpointsConfig") or {}).items()}

    def having(self, **members: object) -> "Call":
        """With other top-level members in its JSON."""
        return replace(self, body={**self.json, **members})

    def hosting(self, **members: object) -> "Call":
        """With other members in its HostConfig."""
        return self.having(HostConfig={**self.host_config, **members})

    def asking(self, **parameters: str | None) -> "Call":
        """With other query parameters; None takes one away."""
        pairs = [(name, value) for name, value in self.query.pairs if name.replace("-", "_") not in parameters]
        pairs += [(name.replace("_", "-"), value) for name, value in parameters.items() if value is not None]
        return replace(self, query=Query(urlencode(pairs)))
