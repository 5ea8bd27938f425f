"""Ping, version and info: one answer about two worlds. With the engine down they still answer, and say so."""

import logging
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.api.errors import ShoalError
from node_agent.api.engine_link import EngineDown, EngineLink
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route
from node_agent.api.versions import NEWEST, OLDEST, EngineVersions


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What we are called."""

    name: str = "Shoal"
    version: str
    commit: str = ""
    encryption: str = "none"
    """The driver of encrypted overlays on this host."""
    warnings: Sequence[str] = ()
    """What an operator should see in `docker info` for as long as the daemon runs."""

    @property
    def server(self) -> str:
        """For the Server header."""
        return f"{self.name}/{self.version}"


class SwarmStatus(Protocol):
    """This node's place in a swarm, as ping and info tell it."""

    def ping(self) -> str:
        """The Swarm header: inactive, pending, error, locked, active/worker or active/manager."""
        ...

    async def info(self) -> Mapping[str, Any]:
        """The `Swarm` member of /info. Never waits for a leader."""
        ...

    def warnings(self) -> Sequence[str]:
        """Lines that an operator should see in `docker info`."""
        ...


class System:
    """The noun's handlers."""

    def __init__(self, product: Product, link: EngineLink, swarm: SwarmStatus, *, hostname: str = "") -> None:
        """`hostname`: what this node is called in the swarm, if not by the host's name: tools look it up there by /info's `Name`."""
        self._product, self._link, self._swarm, self._hostname = product, link, swarm, hostname

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/version", self.version),
            Route("GET", "/info", self.info),
        ]

    async def ping(self, _: ApiRequest) -> ApiResponse:
        try:
            engine: EngineVersions | None = await self._link.versions()
        except ShoalError:
            engine = self._link.last_versions
        return ApiResponse(
            body=b"OK",
            content_type="text/plain; charset=utf-8",
            headers={
                "Builder-Version": engine.builder if engine is not None else "",
                "Cache-Control": "no-cache, no-store, must-revalidate",
                "Pragma": "no-cache",
                "Swarm": self._swarm.ping(),
            },
        )

    async def version(self, _: ApiRequest) -> ApiResponse:
        try:
            reply = await self._link.call("GET", "/version")
        except EngineDown as down:
            last = self._link.last_versions
            known = {"Version": last.release, "Arch": last.arch} if last is not None else {}
            return json_response(version_view({**_without_engine(), **known}, self._product, trouble=str(down)))
        return json_response(version_view(reply.json(), self._product)) if reply.ok else reply.respond()

    async def info(self, _: ApiRequest) -> ApiResponse:
        swarm, warnings = await self._swarm.info(), [*self._product.warnings, *self._swarm.warnings()]
        try:
            reply = await self._link.call("GET", "/info")
        except EngineDown as down:
            engine, warnings = _info_without_engine(), [f"WARNING: {down}", *warnings]
        else:
            if not reply.ok:
                return reply.respond()
            engine = reply.json()
        debug = logging.getLogger().isEnabledFor(logging.DEBUG)
        return json_response(info_view(engine, swarm, warnings, encryption=self._product.encryption, debug=debug, hostname=self._hostname))


def version_view(engine: Mapping[str, Any], product: Product, *, trouble: str = "") -> Mapping[str, Any]:
    """The engine's /version with us in it; `Version` stays the engine's, since clients parse it."""
    details = {"ApiVersion": str(NEWEST), "MinAPIVersion": str(OLDEST)}
    if product.commit:
        details["GitCommit"] = product.commit
    if trouble:
        details["Engine"] = trouble
    ours = {"Name": product.name, "Version": product.version, "Details": details}
    return {
        **engine,
        "Platform": {"Name": f"{product.name} {product.version}" + (f" ({trouble})" if trouble else "")},
        "Components": [*(engine.get("Components") or ()), ours],
        "ApiVersion": str(NEWEST),
        "MinAPIVersion": str(OLDEST),
    }


def info_view(
    engine: Mapping[str, Any],
    swarm: Mapping[str, Any],
    warnings: Sequence[str],
    *,
    encryption: str = "none",
    debug: bool = False,
    hostname: str = "",
) -> Mapping[str, Any]:
    """The engine's /info in which `Swarm` is wholly ours, either may debug, both have warned, and what encrypts overlays is named."""
    return {
        **engine,
        **({"Name": hostname} if hostname else {}),
        "Debug": debug or bool(engine.get("Debug")),
        "SecurityOptions": [*(engine.get("SecurityOptions") or ()), f"name=overlay-encryption,driver={encryption}"],
        "Swarm": swarm,
        "Warnings": [*(engine.get("Warnings") or ()), *warnings] or None,
    }


def _without_engine() -> Mapping[str, Any]:
    """What can be said of this machine by itself, under the names of /version."""
    return {"Version": "0.0.0", "Os": "linux", "Arch": _go_arch(platform.machine()), "KernelVersion": platform.release()}


def _info_without_engine() -> Mapping[str, Any]:
    """The same under the names of /info."""
    return {
        "Name": socket.gethostname(),
        "OSType": "linux",
        "OperatingSystem": "linux",
        "Architecture": platform.machine(),
        "KernelVersion": platform.release(),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Driver": "none",
        "ServerVersion": "0.0.0",
    }


def _go_arch(machine: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)
