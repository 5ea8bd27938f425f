"""The devices of the data plane and who is behind them: makes the kernel equal to the desired tunnels and return paths.

Synchronous, for the worker thread. It reads back what is there whenever it is told to, so a device that somebody removed, an entry
that somebody deleted and a daemon that was killed half way are all the same case.
"""

import errno
from collections.abc import Callable, Mapping
from pathlib import Path

from node_agent.network.crypt import tap
from node_agent.network.desired import Tunnel
from node_agent.network.marks import ROUTING_PRIORITY, number_mark, number_mask, routing_number, routing_table
from node_agent.network.naming import BRIDGE_PREFIX, ENCRYPTED_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE, VXLAN_PREFIX, mac_of
from node_agent.network.netlink import Netlink, NetlinkError, Request
from node_agent.network.routes import meeting_route
from node_agent.network.rtnetlink import (
    Link,
    add_address,
    add_default_route,
    add_rule,
    add_vxlan,
    addresses,
    default_routes,
    delete_default_route,
    delete_forwarding,
    delete_link,
    delete_neighbour,
    delete_rule,
    forwarding,
    links,
    neighbours,
    routes,
    rules,
    set_bridge_port,
    set_forwarding,
    set_link,
    set_neighbour,
)

_INTERFACES = Path("/proc/sys/net/ipv4/conf")
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


class Devices:
    """Remembers the entries that it made, device by device; a recheck reads them back."""

    def __init__(self, kernel: Netlink) -> None:
        self._kernel = kernel
        self._entries: dict[int, dict[str, str]] = {}
        """Interface index -> what is behind it. A device made anew has a new index."""
        self._held: Mapping[str, Tunnel] | None = None

    def hold(self, tunnels: Mapping[str, Tunnel], *, recheck: bool) -> dict[str, str]:
        """Returns what could not be done: a tunnel's key -> why."""
        if not recheck and self._held == tunnels:
            return {}
        there = links(self._kernel)
        ours = [link for name, link in there.items() if name.startswith((VXLAN_PREFIX, ENCRYPTED_PREFIX)) or name == LINK_DEVICE]
        self._kernel.do(*(delete_link(link.index) for link in ours if link.name not in tunnels))
        problems = {}
        for tunnel in tunnels.values():
            if problem := problem_of(lambda tunnel=tunnel: self._device(tunnel, there)):  # type: ignore[misc]
                problems[tunnel.key] = problem
        there = links(self._kernel)
        indexes = {there[name].index: tunnel for name, tunnel in tunnels.items() if name in there and not tunnel.encrypted}
        self._read_back([index for index in indexes if recheck or index not in self._entries])
        self._entries = {index: self._entries.get(index, {}) for index in indexes}
        for index, tunnel in indexes.items():
            if problem := problem_of(lambda index=index, tunnel=tunnel: self._behind(index, tunnel.entries)):  # type: ignore[misc]
                problems.setdefault(tunnel.key, problem)
        self._held = None if problems else tunnels
        return problems

    def _device(self, tunnel: Tunnel, there: Mapping[str, Link]) -> None:
        bridge = there.get(tunnel.bridge)
        if tunnel.bridge and bridge is None:
            raise NetlinkError(19, f"the engine's bridge {tunnel.bridge} is missing")
        link = there.get(tunnel.device)
        if link is not None and not tunnel.encrypted and (link.vni, link.local, link.port) != (tunnel.vni, tunnel.local, tunnel.port):
            self._kernel.do(delete_link(link.index))
            link = None
        if link is None:
            self._refuse_meeting(tunnel)
            link = self._make(tunnel)
        master = 0 if bridge is None else bridge.index
        if (link.master, link.mtu, link.up) != (master, tunnel.mtu, True):
            self._kernel.do(set_link(link.index, master=master, mtu=tunnel.mtu))
        if tunnel.address:
            self._kernel.do(add_address(link.index, tunnel.address, tunnel.prefix))
        _open_to_local_replies(tunnel.bridge or tunnel.device)

    def _refuse_meeting(self, tunnel: Tunnel) -> None:
        """An overlay's subnet was looked at before its bridge was made; that of the node link is given to every node alike."""
        met = meeting_route(f"{tunnel.address}/{tunnel.prefix}", routes(self._kernel), ()) if tunnel.address else None
        if met is not None:
            own = f"the network between the nodes ({tunnel.address}/{tunnel.prefix}) meets this host's own route {met.destination}"
            cure = "published ports are served by this node's own tasks only; change that route, or --default-addr-pool of the swarm"
            raise OSError(errno.EADDRNOTAVAIL, f"{own}: {cure}")

    def _make(self, tunnel: Tunnel) -> Link:
        if tunnel.encrypted:
            tap.make(tunnel.device)
            return links(self._kernel)[tunnel.device]
        mac = mac_of(tunnel.address) if tunnel.address else ""
        self._kernel.do(add_vxlan(tunnel.device, vni=tunnel.vni, local=tunnel.local, port=tunnel.port, mtu=tunnel.mtu, mac=mac))
        return links(self._kernel)[tunnel.device]

    def _read_back(self, indexes: list[int]) -> None:
        """What somebody else removed, or half of an entry, counts as not there."""
        if not indexes:
            return
        nodes = {(entry.device, entry.key): entry.value for entry in forwarding(self._kernel, indexes)}
        found: dict[int, dict[str, str]] = {index: {} for index in indexes}
        for entry in neighbours(self._kernel, indexes):
            node = nodes.pop((entry.device, entry.value), "")
            found[entry.device][entry.key] = node if entry.value == mac_of(entry.key) else ""
        self._kernel.do(*(delete_forwarding(device, mac) for device, mac in nodes))
        self._entries.update(found)

    def _behind(self, index: int, wanted: Mapping[str, str]) -> None:
        held = self._entries[index]
        if held == wanted:
            return
        requests: list[Request] = []
        for address in held:
            if address not in wanted:
                requests += (delete_neighbour(index, address), delete_forwarding(index, mac_of(address)))
        for address, node in wanted.items():
            if held.get(address) != node:
                requests += (set_forwarding(index, mac_of(address), node), set_neighbour(index, address, mac_of(address)))
        self._entries[index] = {}
        self._kernel.do(*requests)
        self._entries[index] = dict(wanted)


class ReturnPaths:
    """The routing rules by which replies go back over the node that their connection came in through."""

    def __init__(self, kernel: Netlink) -> None:
        self._kernel = kernel
        self._held: tuple[Mapping[int, str], int] | None = None

    def hold(self, paths: Mapping[int, str], *, mark_base: int, recheck: bool) -> str:
        """Returns why it could not be done; empty when it was."""
        if not recheck and self._held == (paths, mark_base):
            return ""
        self._held = None
        problem = problem_of(lambda: self._program(paths, mark_base))
        if not problem:
            self._held = (paths, mark_base)
        return problem

    def _program(self, paths: Mapping[int, str], mark_base: int) -> None:
        link = links(self._kernel).get(LINK_DEVICE)
        mask = number_mask(mark_base)
        wanted_rules = {(number_mark(mark_base, number), mask, routing_table(number)) for number in paths}
        there = set(rules(self._kernel, ROUTING_PRIORITY))
        wanted = {} if link is None else {routing_table(number): (gateway, link.index) for number, gateway in paths.items()}
        there_now = {table: route for table, route in default_routes(self._kernel).items() if routing_number(table)}
        stale = [(mark, m, table) for mark, m, table in there - wanted_rules if routing_number(table)]
        self._kernel.do(
            *(delete_rule(mark=mark, mask=m, table=table, priority=ROUTING_PRIORITY) for mark, m, table in sorted(stale)),
            *(delete_default_route(table) for table in sorted(there_now.keys() - wanted.keys())),
            *(
                add_default_route(table, gateway=way, device=device)
                for table, (way, device) in wanted.items()
                if there_now.get(table) != (way, device)
            ),
            *(add_rule(mark=mark, mask=m, table=table, priority=ROUTING_PRIORITY) for mark, m, table in sorted(wanted_rules - there)),
        )


def problem_of(step: Callable[[], None]) -> str:
    """One device that fails must not keep the others from being made."""
    try:
        step()
    except OSError as problem:
        return problem.strerror or str(problem)
    return ""


def _open_to_local_replies(interface: str) -> None:
    """Settings of an interface that is ours: replies to 127.0.0.1 may come in (guarded by `c_raw`), and those of a task on two
    networks by the other one; strict reverse path checks would drop them. 2 wins over a host-wide 1.
    """
    for name, value in (("route_localnet", "1"), ("rp_filter", "2")):
        (_INTERFACES / interface / name).write_text(value)


def open_gateway_bridge(name: str) -> None:
    """The same for the local gateway bridge, which has no tunnel; fine when it is not there."""
    if (_INTERFACES / name).exists():
        _open_to_local_replies(name)


def set_task_ports(kernel: Netlink) -> None:
    """The containers' own ports of our bridges. With bridge-nf-call-iptables on, a translated frame stays on its bridge: a task that
    calls its own published port needs it back where it came from. With it off, no filter sees what passes on the gateway bridge, so
    the ports keep its tasks apart.
    """
    there = links(kernel)
    bridges = {link.index: name for name, link in there.items() if name.startswith(BRIDGE_PREFIX) or name == GATEWAY_BRIDGE}
    filtered = _BRIDGE_FILTER.exists() and _BRIDGE_FILTER.read_text().strip() == "1"
    for link in there.values():
        if link.kind == "veth" and link.master in bridges:
            isolated = bridges[link.master] == GATEWAY_BRIDGE and not filtered
            if (link.hairpin, link.isolated) != (True, isolated):
                kernel.do(set_bridge_port(link.index, hairpin=True, isolated=isolated))


def local_mtu(kernel: Netlink, address: str) -> int:
    """The MTU of the interface that has this address; the smallest of the host's interfaces while that one is not known."""
    there = links(kernel).values()
    index = next((index for index, here, _ in addresses(kernel) if here == address), 0)
    own = (BRIDGE_PREFIX, VXLAN_PREFIX, ENCRYPTED_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE)
    others = [link.mtu for link in there if link.up and link.name != "lo" and not link.name.startswith(own)]
    return next((link.mtu for link in there if link.index == index), min(others, default=1500))


def allow_forwarding() -> None:
    """The one host-wide setting that is changed, and only if it is off."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    if switch.read_text().strip() == "0":
        switch.write_text("1")
