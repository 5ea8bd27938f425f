"""`/swarm`: founding one, joining one, leaving it, its settings and tokens."""

import base64
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from cluster.api.commands import UpdateCluster
from cluster.api.errors import InvalidArgument, Unavailable
from cluster.api.objects import Cluster
from cluster.api.specs import ClusterSpec
from cluster.api.values import wire_name
from cluster.rpc.identity import issuer_facts
from manager.ca.rotation import asked_for
from manager.ca.trust import issuer_of
from node_agent import machine
from node_agent.api import views
from node_agent.api.backend import InitRequest, JoinRequest, Swarm
from node_agent.api.edge import as_value, version_of
from node_agent.api.messages import ApiRequest, ApiResponse, json_response
from node_agent.api.routing import Route


class _Init(Struct, frozen=True, kw_only=True, rename=wire_name):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    force_new_cluster: bool = False
    availability: str = ""
    spec: dict[str, Any] = {}


class _Join(Struct, frozen=True, kw_only=True, rename=wire_name):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: tuple[str, ...] = ()
    join_token: str = ""
    availability: str = ""


class _Unlock(Struct, frozen=True, kw_only=True, rename=wire_name):
    unlock_key: str = ""


class SwarmNoun:
    """The noun's handlers over this node's swarm."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self) -> Sequence[Route]:
        return (
            Route("GET", "/swarm", self.inspect),
            Route("POST", "/swarm/init", self.init),
            Route("POST", "/swarm/join", self.join),
            Route("POST", "/swarm/leave", self.leave),
            Route("POST", "/swarm/update", self.update),
            Route("GET", "/swarm/unlockkey", self.unlock_key),
            Route("POST", "/swarm/unlock", self.unlock),
        )

    async def inspect(self, _: ApiRequest) -> ApiResponse:
        row = await self._cluster()
        shown = views.cluster(row, tls_info=tls_info(row))
        shown["JoinTokens"] = {"Worker": row.join_tokens.worker, "Manager": row.join_tokens.manager}
        return json_response(shown)

    async def init(self, request: ApiRequest) -> ApiResponse:
        asked = as_value(await request.json(dict[str, Any]), _Init)
        founded = await self._swarm.init(
            InitRequest(
                listen_addr=asked.listen_addr,
                advertise_addr=asked.advertise_addr,
                data_path_addr=asked.data_path_addr,
                data_path_port=asked.data_path_port,
                default_addr_pool=asked.default_addr_pool,
                subnet_size=asked.subnet_size,
                force_new_cluster=asked.force_new_cluster,
                availability=asked.availability.lower(),
                spec=spec_from(asked.spec, ClusterSpec()),
            )
        )
        return json_response(founded)

    async def join(self, request: ApiRequest) -> ApiResponse:
        asked = as_value(await request.json(dict[str, Any]), _Join)
        await self._swarm.join(
            JoinRequest(
                listen_addr=asked.listen_addr,
                advertise_addr=asked.advertise_addr,
                data_path_addr=asked.data_path_addr,
                remote_addrs=asked.remote_addrs,
                join_token=asked.join_token,
                availability=asked.availability.lower(),
            )
        )
        return ApiResponse(status=200)

    async def leave(self, request: ApiRequest) -> ApiResponse:
        await self._swarm.leave(force=request.query.flag("force"))
        return ApiResponse(status=200)

    async def update(self, request: ApiRequest) -> ApiResponse:
        version = version_of(request, "swarm")
        row = await self._cluster()
        spec = spec_from(await request.json(dict[str, Any]), row.spec)
        secret = self._swarm.draw_secret
        rotation = asked_for(row, spec.ca_config, now=time.time(), serial=machine.draw_serial)
        await self._swarm.execute(
            UpdateCluster(
                request_id=self._swarm.draw_id(),
                version=version,
                spec=spec,
                rotate_worker_token=secret() if _rotates(request, "rotateWorkerToken") else "",
                rotate_manager_token=secret() if _rotates(request, "rotateManagerToken") else "",
                rotate_unlock_key=_rotates(request, "rotateManagerUnlockKey"),
                unlock_key=self._swarm.draw_unlock_key(),
                rotation=rotation,
                rotation_base=row.version if rotation is not None else 0,
            )
        )
        return ApiResponse(status=200)

    async def unlock_key(self, _: ApiRequest) -> ApiResponse:
        row = await self._cluster()
        return json_response({"UnlockKey": row.unlock_key if row.spec.encryption_config.auto_lock_managers else ""})

    async def unlock(self, request: ApiRequest) -> ApiResponse:
        asked = as_value(await request.json(dict[str, Any]), _Unlock)
        await self._swarm.unlock(asked.unlock_key)
        return ApiResponse(status=200)

    async def _cluster(self) -> Cluster:
        row = (await self._swarm.read()).cluster
        if row is None:
            raise Unavailable("this manager has not yet caught up with the swarm: try again in a moment")
        return row


def _rotates(request: ApiRequest, name: str) -> bool:
    """Stricter than other flags, as in Docker: a token rotated by mistake keeps every newcomer out."""
    text = request.query.get(name)
    if text.lower() not in {"", "1", "t", "true", "0", "f", "false"}:
        raise InvalidArgument(f"invalid value for {name}: {text}")
    return text.lower() in {"1", "t", "true"}


def spec_from(raw: dict[str, Any], base: ClusterSpec) -> ClusterSpec:
    """The spec a client posts over the present one: what it leaves out (or sends as Go's zero) keeps its value."""
    present = as_value(_overlay(_builtins(base), raw), ClusterSpec)
    if present.name != "default":
        raise InvalidArgument(f'swarm spec must be named "default", not "{present.name}"')
    if present.ca_config.node_cert_expiry < 3600 * 10**9:
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")
    return present


def _builtins(spec: ClusterSpec) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(spec)
    return shown


def _overlay(base: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in raw.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict) and name != "Labels":
            merged[name] = _overlay(base[name], value)
        elif name == "Labels" or isinstance(value, bool) or value not in (None, 0, ""):
            merged[name] = value
    return merged


def tls_info(row: Cluster) -> dict[str, Any]:
    """What clients can hold a node's certificate against."""
    issuer = issuer_facts(issuer_of(row).certificate)
    return {
        "TrustRoot": row.root_ca.cert,
        "CertIssuerSubject": base64.b64encode(issuer.subject).decode(),
        "CertIssuerPublicKey": base64.b64encode(issuer.public_key).decode(),
    }
