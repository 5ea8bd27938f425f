"""Puts back what of the engine's bridges somebody removed under running tasks: the bridge, and the containers' ends on it.

The engine makes a missing bridge anew when it starts, but leaves the containers that went on off it; and until then their tasks would
be served connections that lead nowhere. Synchronous, for the worker thread.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from node_agent.network.naming import BRIDGE_PREFIX, GATEWAY_BRIDGE
from node_agent.network.netlink import Netlink
from node_agent.network.netns import of_pid
from node_agent.network.ports import BridgeNetwork
from node_agent.network.rtnetlink import Link, add_address, add_bridge, addresses, announce, links, set_link

_INTERFACES = Path("/proc/sys/net/ipv4/conf")

log = logging.getLogger(__name__)


def missing(kernel: Netlink, bridges: Iterable[BridgeNetwork]) -> list[BridgeNetwork]:
    """Those whose interface is not there."""
    there = links(kernel)
    return [wanted for wanted in bridges if wanted.bridge not in there]


def make_bridge(kernel: Netlink, wanted: BridgeNetwork) -> None:
    """As the engine made it: it goes by the name in all its rules."""
    if wanted.bridge in links(kernel):
        return
    kernel.do(add_bridge(wanted.bridge))
    made = links(kernel)[wanted.bridge]
    kernel.do(add_address(made.index, wanted.gateway, IPv4Network(wanted.subnet).prefixlen), set_link(made.index, mtu=wanted.mtu or None))
    log.warning("data plane: the bridge %s was gone from under its tasks and is made anew", wanted.bridge)


def bring_home(kernel: Netlink, processes: Iterable[int]) -> None:
    """Each end of a container of ours that is on no bridge back on the one whose subnet it has an address of."""
    there = links(kernel)
    astray = {link.index: link for link in there.values() if link.kind == "veth" and not link.master}
    if not astray:
        return
    names = {link.index: name for name, link in there.items() if name.startswith(BRIDGE_PREFIX) or name == GATEWAY_BRIDGE}
    subnets = {IPv4Interface(f"{own}/{prefix}").network: index for index, own, prefix in addresses(kernel) if index in names}
    homes: dict[int, int] = {}
    for process in processes:
        with suppress(OSError):  # it has ended
            homes.update(_homes_in(process, astray, subnets))
    kernel.do(*(set_link(end, master=bridge) for end, bridge in homes.items()))
    for bridge in set(homes.values()):
        name = names[bridge]
        (_INTERFACES / name / "arp_notify").write_text("1")  # the containers remember the hardware address that it had
        kernel.do(announce(bridge, there[name].mac))
        log.warning("data plane: tasks had been taken off the bridge %s and are back on it", name)


def _homes_in(process: int, astray: dict[int, Link], subnets: dict[IPv4Network, int]) -> Iterator[tuple[int, int]]:
    """Which of the lost ends lead into this process's namespace, and where they belong."""
    inside = Netlink(namespace=of_pid(process))
    try:
        ends = {link.index: link.peer for link in links(inside).values() if link.peer in astray and astray[link.peer].peer == link.index}
        for index, own, _ in addresses(inside) if ends else ():
            home = next((bridge for subnet, bridge in subnets.items() if IPv4Address(own) in subnet), 0)
            if index in ends and home:
                yield ends[index], home
    finally:
        inside.close()
