"""Addresses within a network's subnet, handed out in a circle, so that one just freed rests before it is used again. Pure.

What is taken is an index of the snapshot; a pool only adds what its own round gives.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from cluster.api.objects import Network
from cluster.api.specs import IPAMConfig
from manager.allocator.subnets import parsed


class Pool:
    """The addresses of one network during one round."""

    def __init__(self, network: Network, subnet: IPv4Network, taken: Mapping[int, int], *, last: int = 0) -> None:
        self.network = network
        self.subnet = subnet
        self.last = last
        """The offset that was given last: the next search starts behind it."""
        self._base = int(subnet.network_address)
        self._taken = taken
        self._given: set[int] = set()
        self._reserved = _reserved(network, self._base)
        self._first, self._end = _usable(network, subnet)

    def take(self) -> str | None:
        """A free address with its prefix length; None when there is none."""
        start = self.last + 1 if self._first <= self.last + 1 < self._end else self._first
        for offset in chain(range(start, self._end), range(self._first, start)):
            if offset not in self._taken and offset not in self._given and offset not in self._reserved:
                self._given.add(offset)
                self.last = offset
                return self.written(offset)
        return None

    def holds(self, address: str) -> bool:
        """The address, given with its prefix length, is one of this subnet."""
        other = parsed(address)
        return other is not None and other == self.subnet

    def written(self, offset: int) -> str:
        return f"{IPv4Address(self._base + offset)}/{self.subnet.prefixlen}"

    @property
    def usable(self) -> int:
        """How many addresses there are to give."""
        return self._end - self._first - sum(1 for offset in self._reserved if self._first <= offset < self._end)

    @property
    def used(self) -> int:
        """How many of them somebody has."""
        return sum(1 for offset in self._taken if self._first <= offset < self._end and offset not in self._reserved) + len(self._given)

    @property
    def exhausted(self) -> str:
        """Why `take` gave nothing."""
        return f"network {self.network.spec.name} ({self.subnet}) has no free address: {self.usable} of {self.usable} in use"


def pool_of(network: Network, taken: Mapping[int, int]) -> Pool | None:
    """The network's addresses as they are; None while it has no subnet."""
    subnet = parsed(network.subnet)
    return None if subnet is None else Pool(network, subnet, taken)


def ipam(network: Network) -> IPAMConfig:
    """The user's own wishes; empty when there are none."""
    config = network.spec.ipam.config if network.spec.ipam is not None else ()
    return config[0] if config else IPAMConfig()


def gateway_of(network: Network, subnet: IPv4Network) -> str:
    """The same address on every node: the first, unless the user named another."""
    return ipam(network).gateway.partition("/")[0] or str(subnet.network_address + 1)


def _reserved(network: Network, base: int) -> frozenset[int]:
    """The gateway, and what the user keeps for other things."""
    kept = [network.gateway.partition("/")[0], *ipam(network).auxiliary_addresses.values()]
    return frozenset(int(IPv4Address(address)) - base for address in kept if _is_address(address))


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _usable(network: Network, subnet: IPv4Network) -> tuple[int, int]:
    """The offsets that may be given, the second excluded: not the first and last of the subnet, only those in the user's range."""
    base, size = int(subnet.network_address), subnet.num_addresses
    first, end = (1, size - 1) if size > 2 else (0, size)
    wished = parsed(ipam(network).ip_range)
    if wished is None or not wished.subnet_of(subnet):
        return first, end
    begin = int(wished.network_address) - base
    return max(first, begin), min(end, begin + wished.num_addresses)
