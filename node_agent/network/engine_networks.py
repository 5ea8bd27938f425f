"""The engine's bridge networks over its HTTP API: dockerd, and Podman where it answers as Docker does."""

import json
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp

from node_agent.network.ports import BridgeNetwork, Member
from worker.ports import EngineError, EngineGone

_BRIDGE_NAME = "com.docker.network.bridge.name"
_MTU = "com.docker.network.driver.mtu"
_ICC = "com.docker.network.bridge.enable_icc"
_TASK = "shoal.cluster"
"""The label of every task's container."""
_COMINGS = ["start", "die", "destroy", "connect", "disconnect"]


class DockerNetworks:
    """Use as `async with DockerNetworks(socket) as networks`."""

    def __init__(self, socket: Path) -> None:
        self._path = str(socket)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "DockerNetworks":
        connector = aiohttp.UnixConnector(self._path)
        self._session = aiohttp.ClientSession("http://docker", connector=connector, timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def create_network(self, wanted: BridgeNetwork) -> BridgeNetwork:
        if (there := await self._inspect(wanted.name)) is not None:
            return there
        status, answer = await self._call("POST", "/networks/create", body=_request(wanted))
        if status not in (201, 409):
            raise EngineError(_words(answer))
        made = await self._inspect(wanted.name)
        if made is None:
            raise EngineError(f"network {wanted.name} is not there after it was created: {_words(answer)}")
        return made

    async def remove_network(self, name: str) -> bool:
        status, answer = await self._call("DELETE", f"/networks/{quote(name)}")
        if status in (403, 409):
            return False
        if status not in (200, 204, 404):
            raise EngineError(_words(answer))
        return True

    async def list_networks(self, label: str) -> Sequence[BridgeNetwork]:
        filters = quote(json.dumps({"label": [label]}))
        status, answer = await self._call("GET", f"/networks?filters={filters}")
        if status != 200:
            raise EngineError(_words(answer))
        return [_network(one) for one in answer]

    async def has_network(self, name: str) -> bool:
        return await self._inspect(name) is not None

    async def list_members(self, networks: Collection[str]) -> Sequence[Member]:
        if not networks:
            return []
        filters = quote(json.dumps({"network": sorted(networks)}))
        status, answer = await self._call("GET", f"/containers/json?all=1&filters={filters}")
        if status != 200:
            raise EngineError(_words(answer))
        return [await self._member(one) for one in answer if _TASK not in (one.get("Labels") or {})]

    async def _member(self, listed: Mapping[str, Any]) -> Member:
        networks: Mapping[str, Any] = (listed.get("NetworkSettings") or {}).get("Networks") or {}
        addresses = {name: ((one.get("IPAMConfig") or {}).get("IPv4Address") or one.get("IPAddress", "")) for name, one in networks.items()}
        pid = 0
        if listed.get("State") in ("running", "paused"):
            status, answer = await self._call("GET", f"/containers/{listed['Id']}/json")
            pid = int(answer["State"]["Pid"]) if status == 200 else 0
        return Member(container_id=listed["Id"], pid=pid, addresses=addresses)

    async def changes(self) -> AsyncGenerator[None, None]:
        if self._session is None:
            raise EngineGone("the connection to the engine is not open")
        filters = quote(json.dumps({"type": ["container", "network"], "event": _COMINGS}))
        try:
            async with self._session.get(f"/events?filters={filters}", timeout=aiohttp.ClientTimeout(total=None)) as response:
                yield
                async for _ in response.content.iter_any():
                    yield
        except (aiohttp.ClientError, TimeoutError) as gone:
            raise EngineGone(f"the engine at {self._path} does not answer: {gone}") from gone
        raise EngineGone(f"the engine at {self._path} ended the stream of its events")

    async def _inspect(self, name: str) -> BridgeNetwork | None:
        status, answer = await self._call("GET", f"/networks/{quote(name)}")
        if status == 404:
            return None
        if status != 200:
            raise EngineError(_words(answer))
        return _network(answer)

    async def _call(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        if self._session is None:
            raise EngineGone("the connection to the engine is not open")
        try:
            async with self._session.request(method, path, json=body) as response:
                content = await response.read()
                return response.status, json.loads(content) if content.strip() else {}
        except (aiohttp.ClientError, TimeoutError) as gone:
            raise EngineGone(f"the engine at {self._path} does not answer: {gone}") from gone


def _request(wanted: BridgeNetwork) -> dict[str, Any]:
    options = {_BRIDGE_NAME: wanted.bridge}
    if wanted.mtu:
        options[_MTU] = str(wanted.mtu)
    if wanted.isolated:
        options[_ICC] = "false"
    request: dict[str, Any] = {
        "Name": wanted.name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": wanted.internal,
        "Labels": dict(wanted.labels),
        "Options": options,
    }
    if wanted.subnet:
        request["IPAM"] = {"Driver": "default", "Config": [{"Subnet": wanted.subnet, "Gateway": wanted.gateway}]}
    return request


def _network(there: Mapping[str, Any]) -> BridgeNetwork:
    options = there.get("Options") or {}
    pools = (there.get("IPAM") or {}).get("Config") or [{}]
    return BridgeNetwork(
        name=there["Name"],
        bridge=options.get(_BRIDGE_NAME, ""),
        subnet=pools[0].get("Subnet", ""),
        gateway=pools[0].get("Gateway", ""),
        mtu=int(options.get(_MTU, 0)),
        labels=there.get("Labels") or {},
        internal=bool(there.get("Internal")),
        isolated=options.get(_ICC) == "false",
    )


def _words(answer: Any) -> str:
    return str(answer.get("message", answer)) if isinstance(answer, dict) else str(answer)
