"""The host's own routes, and which of them a new bridge would shadow. Pure.

The allocator keeps overlays off every node's networks; the node looks once more before it makes the bridge, because a bridge whose
subnet meets the host's own network cuts the node off at once.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network

from cluster.api.values import Value


class Route(Value, frozen=True, kw_only=True):
    """A route of the main table; the default one has `0.0.0.0/0`."""

    destination: str
    device: int
    gateway: str = ""


def meeting_route(subnet: str, routes: Iterable[Route], own: Iterable[int]) -> Route | None:
    """A route of the host that the subnet would shadow: making the bridge would cut the node off from there."""
    wanted = IPv4Network(subnet, strict=False)
    ours = set(own)
    for route in routes:
        there = IPv4Network(route.destination, strict=False)
        if there.prefixlen and route.device not in ours and there.overlaps(wanted):
            return route
    return None
