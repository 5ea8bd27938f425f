"""Subnets for networks: the first of the pool that meets no other network and nothing that a host can reach without us. Pure.

The bridge of an overlay puts its subnet into the host's own routes: one that meets a host network would cut the node off.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_address, ip_network

from cluster.api.objects import Network, Node
from manager.store.snapshot import Snapshot

Span = tuple[int, int]
"""First and last address."""

NODE_LINK = 20
"""The widest prefix that holds every node number."""


def span(network: IPv4Network) -> Span:
    return int(network.network_address), int(network.broadcast_address)


class Blocked:
    """Address ranges that no new subnet may meet."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start <= self._ends[-1] + 1:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def meeting(self, start: int, end: int) -> int | None:
        """The end of the last blocked range that this one meets."""
        place = bisect_right(self._starts, end) - 1
        return self._ends[place] if place >= 0 and self._ends[place] >= start else None


def choose(pools: Iterable[str], prefix: int, blocked: Blocked) -> IPv4Network | None:
    """The first free subnet of that size, pool by pool."""
    size = 1 << (32 - prefix)
    for text in pools:
        pool = ip_network(text, strict=False)
        if not isinstance(pool, IPv4Network) or pool.prefixlen > prefix:
            continue
        start, last = span(pool)
        while start + size - 1 <= last:
            met = blocked.meeting(start, start + size - 1)
            if met is None:
                return IPv4Network((start, prefix))
            start = (met // size + 1) * size
    return None


def of_hosts(nodes: Iterable[Node]) -> Iterator[Span]:
    """What the nodes themselves reach: their networks and the addresses they are known under."""
    for node in nodes:
        for text in node.description.subnets:
            network = parsed(text)
            if network is not None and network.prefixlen:
                yield span(network)
        for addr in (node.status.addr, node.data_path_addr, "" if node.member is None else node.member.addr):
            if (address := _address(addr)) is not None:
                yield address, address


def of_networks(networks: Iterable[Network]) -> Iterator[Span]:
    for network in networks:
        subnet = parsed(network.subnet)
        if subnet is not None:
            yield span(subnet)


def in_use(now: Snapshot) -> list[Span]:
    return [*of_hosts(now.nodes.values()), *of_networks(now.networks.values())]


def parsed(text: str) -> IPv4Network | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return network if isinstance(network, IPv4Network) else None


def _address(text: str) -> int | None:
    """The IPv4 address of `host` or `host:port`; None for names and IPv6, which overlays don't meet."""
    try:
        address = ip_address(text.rpartition(":")[0] if ":" in text else text)
    except ValueError:
        return None
    return int(address) if address.version == 4 else None
