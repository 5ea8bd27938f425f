"""What a round of equipping reads and hands out: pools and ports of this snapshot, and of what the round itself gave. Pure."""

from collections.abc import Mapping

from cluster.api.ids import Id
from cluster.api.objects import Network, Service
from cluster.api.specs import NetworkAttachmentConfig, TaskSpec
from manager.allocator.addresses import Pool
from manager.allocator.ports import PortDesk
from manager.allocator.subnets import parsed
from manager.store.snapshot import Snapshot

NODE_LOCAL = frozenset({"host", "bridge", "none"})
"""Networks that every engine has by itself: nothing to give there."""


class Desk:
    def __init__(self, now: Snapshot, last: Mapping[Id, int]) -> None:
        self.now = now
        self.ports = PortDesk(now)
        self._last = last
        self._pools: dict[Id, Pool] = {}
        self._networks: dict[Id, Network] = {}
        self._services: dict[Id, Service] = {}

    # -- with what this round changed ------------------------------------------------------------------------------------------------
    def network(self, network_id: Id) -> Network | None:
        return self._networks.get(network_id) or self.now.networks.get(network_id)

    def service(self, service_id: Id) -> Service | None:
        return self._services.get(service_id) or self.now.services.get(service_id)

    def equipped_network(self, network: Network) -> None:
        self._networks[network.id] = network

    def equipped_service(self, service: Service) -> None:
        self._services[service.id] = service

    def pool(self, network_id: Id) -> Pool | None:
        """None while the network is unknown, or has no subnet yet."""
        pool = self._pools.get(network_id)
        if pool is None:
            network = self.network(network_id)
            subnet = None if network is None else parsed(network.subnet)
            if network is None or subnet is None:
                return None
            pool = Pool(network, subnet, self.now.addresses(network_id), last=self._last.get(network_id, 0))
            self._pools[network_id] = pool
        return pool

    @property
    def last(self) -> dict[Id, int]:
        """The offsets given last, for the next round's pools to go on from."""
        return {**self._last, **{network_id: pool.last for network_id, pool in self._pools.items()}}


def attached(spec: TaskSpec, others: tuple[NetworkAttachmentConfig, ...] = ()) -> list[NetworkAttachmentConfig]:
    """The networks of the swarm that a template names, each once."""
    found: dict[str, NetworkAttachmentConfig] = {}
    for network in (*spec.networks, *others):
        if network.target and network.target not in NODE_LOCAL:
            found.setdefault(network.target, network)
    return list(found.values())
