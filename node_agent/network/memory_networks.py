"""The twin of the engine's networks: the same promises, in memory. For tests of whoever uses the port."""

from collections.abc import AsyncGenerator, Collection, Sequence
from ipaddress import IPv4Network

import msgspec

from cluster.aio.latest import Latest
from node_agent.network.ports import BridgeNetwork, Member
from worker.ports import EngineError


class MemoryNetworks:
    """`busy` holds the names of networks that a container is on."""

    def __init__(self) -> None:
        self.networks: dict[str, BridgeNetwork] = {}
        self.busy: set[str] = set()
        self.members: list[Member] = []
        self.changed = Latest(0)
        """To be set when `members` changed."""
        self.refusal = ""
        """What the next creation is refused with."""

    async def create_network(self, wanted: BridgeNetwork) -> BridgeNetwork:
        if wanted.name in self.networks:
            return self.networks[wanted.name]
        if self.refusal:
            raise EngineError(self.refusal)
        subnet = wanted.subnet or f"172.{18 + len(self.networks)}.0.0/16"
        gateway = wanted.gateway or str(IPv4Network(subnet)[1])
        self.networks[wanted.name] = msgspec.structs.replace(wanted, subnet=subnet, gateway=gateway)
        return self.networks[wanted.name]

    async def remove_network(self, name: str) -> bool:
        if name in self.busy:
            return False
        self.networks.pop(name, None)
        return True

    async def has_network(self, name: str) -> bool:
        return name in self.networks

    async def list_members(self, networks: Collection[str]) -> Sequence[Member]:
        return [member for member in self.members if member.addresses.keys() & set(networks)]

    async def changes(self) -> AsyncGenerator[None, None]:
        async for _ in self.changed.values():
            yield

    async def list_networks(self, label: str) -> Sequence[BridgeNetwork]:
        return [network for network in self.networks.values() if label in network.labels]
