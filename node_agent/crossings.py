"""The swarm's networks as clients of the engine meet them: a bridge of ours goes by its network's name, and who may attach is said."""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.api.errors import Forbidden, NotFound
from cluster.api.objects import Network
from cluster.api.states import Kind
from manager.store.snapshot import Snapshot
from node_agent.api.crossings import EngineEndpoint, ShownNetwork
from node_agent.api.edge import look_up
from node_agent.local_swarm import LocalSwarm
from node_agent.network.naming import engine_network_of


class SwarmCrossings:
    """Implements node_agent.api.crossings.Crossings over this node's swarm."""

    def __init__(self, swarm: LocalSwarm) -> None:
        self._swarm = swarm

    async def endpoint(self, network: str, settings: Mapping[str, Any]) -> EngineEndpoint | None:
        del settings
        found = self._find(network)
        if found is None:
            return None
        raise Forbidden(
            f"Could not attach to network {found.spec.name}: rpc error: code = PermissionDenied desc = "
            f"network {found.spec.name} not manually attachable: it carries tasks of services"
        )

    async def withdraw(self, endpoints: Sequence[EngineEndpoint]) -> None:
        """Nothing was made ready."""
        del endpoints

    def engine_name(self, network: str) -> str | None:
        found = self._find(network)
        return None if found is None else engine_network_of(found.id)

    def shown(self, bridge: str) -> ShownNetwork | None:
        now = self._swarm.latest()
        if now is None:
            return None
        named = (network for network in now.networks.values() if engine_network_of(network.id) == bridge)
        return next((ShownNetwork(network.id, network.spec.name) for network in named), None)

    def _find(self, reference: str) -> Network | None:
        now: Snapshot | None = self._swarm.latest()
        if now is None:
            return None
        try:
            found: Network = look_up(now, Kind.NETWORK, reference)
        except NotFound:
            return None
        return None if found.leaving else found
