"""The swarm's networks as clients of the engine meet them: a bridge of ours goes by its network's name, and who may attach is said."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cluster.api.errors import InvalidArgument, NotFound, ShoalError
from cluster.api.ids import Id
from cluster.api.states import Kind
from node_agent.api.backend import LocalState
from node_agent.api.crossings import EngineEndpoint, ShownNetwork
from node_agent.api.edge import look_up
from node_agent.local_swarm import LocalSwarm
from node_agent.network.naming import engine_network_of, mac_of
from node_agent.network.ports import EngineNetworks


class SwarmCrossings:
    """Implements node_agent.api.crossings.Crossings over this node's swarm."""

    def __init__(self, swarm: LocalSwarm, engine: EngineNetworks) -> None:
        self._swarm = swarm
        self._engine = engine

    async def endpoint(self, network: str, settings: Mapping[str, Any], *, container: Mapping[str, Any]) -> EngineEndpoint | None:
        guests = self._swarm.guests
        if guests is None or self._swarm.state is not LocalState.ACTIVE:
            return None
        if self._named(network) is None and (self._swarm.is_manager or await self._engine.has_network(network)):
            return None
        if settings.get("MacAddress"):
            raise InvalidArgument(f"network {network} derives hardware addresses from IP addresses: leave the MAC address out")
        ipam = settings.get("IPAMConfig") or {}
        host_config = container.get("HostConfig") or {}
        try:
            attached, nameserver = await guests.invite(
                network,
                name=container.get("Name") or "",
                aliases=tuple(settings.get("Aliases") or ()),
                address=ipam.get("IPv4Address") or "",
                upstreams=tuple(host_config.get("Dns") or ()),
            )
        except NotFound:
            return None  # a worker cannot know; the engine says so in its own words
        address = attached.guest.address
        given = {**settings, "IPAMConfig": {**ipam, "IPv4Address": address}, "MacAddress": mac_of(address)}
        return EngineEndpoint(engine_network_of(attached.network.network_id), given, attached.guest.id, nameserver)

    async def withdraw(self, endpoints: Sequence[EngineEndpoint]) -> None:
        if (guests := self._swarm.guests) is None:
            return
        for endpoint in endpoints:
            with suppress(ShoalError):  # it is released when the next look finds no container
                await guests.release(endpoint.guest)

    async def joined(self) -> None:
        if (guests := self._swarm.guests) is not None:
            await guests.look()

    def engine_name(self, network: str) -> str | None:
        found = self._named(network)
        return None if found is None else engine_network_of(found)

    def shown(self, bridge: str) -> ShownNetwork | None:
        named = (name for name in self._swarm.network_names().items() if engine_network_of(name[0]) == bridge)
        return next((ShownNetwork(*found) for found in named), None)

    def _named(self, reference: str) -> Id | None:
        """The network's id, as far as this node knows it: a manager knows all, a worker those that it serves."""
        now = self._swarm.latest()
        if now is None:
            names = self._swarm.network_names()
            return reference if reference in names else next((key for key, name in names.items() if name == reference), None)
        try:
            found = look_up(now, Kind.NETWORK, reference)
        except NotFound:
            return None
        return None if found.leaving else found.id
