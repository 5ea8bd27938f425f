"""The engine's bridges under the overlays: made with a network's first task, removed with its last.

Every change of one network happens under its lock, and a task is known as a user before its bridge is made: so the one that
leaves last sees the one that comes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from node_agent.network.naming import GATEWAY_BRIDGE, NETWORK_LABEL, bridge_of, engine_network_of
from node_agent.network.ports import BridgeNetwork, EngineNetworks
from node_agent.network.routes import Route, meeting_route
from worker.ports import EngineError, EngineGone, SandboxError

HostRoutes = Callable[[], Awaitable[tuple[list[Route], Mapping[int, str]]]]

_RULES_GONE = "No chain/target/match by that name"


class Bridges:
    def __init__(self, engine: EngineNetworks, host_routes: HostRoutes) -> None:
        self._engine = engine
        self._host_routes = host_routes
        self._there: dict[str, BridgeNetwork] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def gateways(self) -> dict[Id, str]:
        """network id (the gateway bridge by its name) -> the bridge's address on this node."""
        return {network.labels[NETWORK_LABEL]: network.gateway for network in self._there.values() if network.gateway}

    @property
    def gateway(self) -> BridgeNetwork | None:
        """The local gateway bridge, while it is there."""
        return self._there.get(GATEWAY_BRIDGE)

    async def look(self) -> None:
        """What the engine has of ours: some may have come or gone without us."""
        self._there = {network.name: network for network in await self._engine.list_networks(NETWORK_LABEL)}

    @property
    def there(self) -> list[BridgeNetwork]:
        """Each has an address, so its interface can be told from the others."""
        return [network for network in self._there.values() if network.gateway and network.subnet]

    async def mend(self, missing: BridgeNetwork, make: Callable[[BridgeNetwork], Awaitable[None]]) -> None:
        """Its interface was removed: make it, unless the network has gone meanwhile."""
        async with self._locks[missing.name]:
            if missing.name in self._there:
                await make(missing)

    async def need(self, network: OverlayNetwork, mtu: int) -> None:
        """Raises SandboxError when the subnet cannot be used on this host, EngineGone when the engine does not answer."""
        wanted = BridgeNetwork(
            name=engine_network_of(network.network_id),
            bridge=bridge_of(network.network_id),
            subnet=network.subnet,
            gateway=network.gateway,
            mtu=mtu,
            labels={NETWORK_LABEL: network.network_id},
            internal=network.internal,
        )
        async with self._locks[wanted.name]:
            if wanted.name in self._there:
                return
            await self._refuse_meeting(network, wanted.bridge)
            made = await self._make(wanted)
            if made.subnet != wanted.subnet:
                raise SandboxError(
                    f"the engine has a network {made.name} with subnet {made.subnet}, where network {network.name} needs {wanted.subnet}: "
                    f"remove it (docker network rm {made.name})"
                )

    async def need_gateway(self, mtu: int) -> bool:
        """The local bridge out of the node; True when it was just made."""
        wanted = BridgeNetwork(name=GATEWAY_BRIDGE, bridge=GATEWAY_BRIDGE, mtu=mtu, labels={NETWORK_LABEL: GATEWAY_BRIDGE}, isolated=True)
        async with self._locks[GATEWAY_BRIDGE]:
            if GATEWAY_BRIDGE in self._there:
                return False
            await self._make(wanted)
            return True

    async def _make(self, wanted: BridgeNetwork) -> BridgeNetwork:
        try:
            made = await self._engine.create_network(wanted)
        except EngineGone:
            raise
        except EngineError as refused:
            said = " ".join(str(refused).split())
            cure = ": its own firewall rules were flushed, restart it" if _RULES_GONE in said else ""
            raise SandboxError(f"the engine refused the bridge of network {wanted.name}{cure}: {said}") from refused
        self._there[made.name] = made
        return made

    async def _refuse_meeting(self, network: OverlayNetwork, bridge: str) -> None:
        routes, names = await self._host_routes()
        own = [index for index, name in names.items() if name == bridge]
        met = meeting_route(network.subnet, routes, own)
        if met is not None:
            raise SandboxError(
                f"network {network.name} ({network.subnet}) meets this host's own route {met.destination} on "
                f"{names.get(met.device, 'an interface')}: its bridge would cut the node off; create the network with another --subnet"
            )

    async def leave(self, key: str, *, still_used: Callable[[], bool]) -> bool:
        """Remove a bridge unless somebody uses it; `key` is a network id or the gateway bridge's name. False: it stays."""
        name = GATEWAY_BRIDGE if key == GATEWAY_BRIDGE else engine_network_of(key)
        async with self._locks[name]:
            if still_used() or not await self._engine.remove_network(name):
                return False
            self._there.pop(name, None)
            return True

    async def sweep(self, used: Callable[[str], bool]) -> Sequence[str]:
        """Remove what no task of ours is on (left by a daemon that was killed); the keys of those that somebody else holds."""
        unused = [key for key in self.gateways if not used(key)]
        return [key for key in unused if not await self.leave(key, still_used=lambda key=key: used(key))]  # type: ignore[misc]
