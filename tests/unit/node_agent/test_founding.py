"""Founding: what a swarm can be founded with, and what is refused before anything is written."""

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.founding import address_pools


def test_the_pools_of_networks_have_a_default() -> None:
    assert address_pools((), 0) == (("10.0.0.0/8",), 24)


def test_pools_are_kept_as_networks() -> None:
    assert address_pools(("10.20.1.0/16", "10.30.0.0/16"), 26) == (("10.20.0.0/16", "10.30.0.0/16"), 26)


@pytest.mark.parametrize(
    ("pools", "size", "fault"),
    [
        (("zig",), 0, "invalid base pool zig"),
        (("fd00::/64",), 0, "invalid base pool fd00::/64"),
        (("10.0.0.0/25",), 24, "smaller than the subnets"),
        (("10.0.0.0/8", "10.1.0.0/16"), 24, "overlaps with 10.0.0.0/8"),
        ((), 40, "subnet size is out of range: 40"),
        ((), 30, "subnet size is out of range: 30"),
    ],
)
def test_pools_that_no_network_could_use_are_refused(pools: tuple[str, ...], size: int, fault: str) -> None:
    with pytest.raises(InvalidArgument, match=fault):
        address_pools(pools, size)
