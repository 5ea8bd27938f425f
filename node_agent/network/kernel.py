"""The hands of the data plane: makes the kernel hold what is desired, and re-reads it when told to. Synchronous; one worker thread.

Nothing is decided here. Every part is tried; what failed is reported and tried again in the next round.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.conntrack import forget_udp, gone_destinations
from node_agent.network.desired import Desired
from node_agent.network.firewall import docker_user_rule
from node_agent.network.mending import bring_home, make_bridge, missing
from node_agent.network.naming import ANCHOR, BRIDGE_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE, STAND_IN, TABLE
from node_agent.network.netlink import Netlink
from node_agent.network.netns import enter_command, inside
from node_agent.network.nft import NETFILTER, NftError
from node_agent.network.overlay import Devices, ReturnPaths, allow_forwarding, local_mtu, open_gateway_bridge, problem_of, set_task_ports
from node_agent.network.ports import BridgeNetwork
from node_agent.network.routes import Route
from node_agent.network.rtnetlink import addresses, delete_link, links, routes
from node_agent.network.rulesets import HeldTable, Sandboxes


class Outcome(Value, frozen=True, kw_only=True):
    """What a round left undone."""

    tunnels: Mapping[str, str] = {}
    sandboxes: Mapping[Id, str] = {}
    node: str = ""

    @property
    def complete(self) -> bool:
        """Sandboxes do not count: one that cannot be programmed is one that has just ended, or its task is told so."""
        return not self.tunnels and not self.node


class Kernel:
    """This node's namespace and those of its tasks."""

    def __init__(self, namespace: Path | None) -> None:
        self._namespace = namespace
        self._routing = Netlink(namespace=namespace)
        self._devices = Devices(self._routing)
        self._paths = ReturnPaths(self._routing)
        self._node = HeldTable(None if namespace is None else str(namespace))
        self._sandboxes = Sandboxes()
        self._tunnels: frozenset[str] = frozenset()
        self._where: Mapping[Id, tuple[int, int]] = {}
        self._published: Mapping[tuple[str, int, str], tuple[str, ...]] = {}

    def close(self) -> None:
        """Let go; everything that was programmed stays."""
        self._sandboxes.close()
        self._node.close()
        self._routing.close()

    def hold(self, wanted: Desired, where: Mapping[Id, tuple[int, int]], *, recheck: bool) -> Outcome:
        if wanted.node_table is None:
            return Outcome(node="the cluster's nodes are not known yet")
        new_bridges = wanted.tunnels.keys() != self._tunnels
        new_tasks = bool(where.items() - self._where.items())
        self._tunnels, self._where = frozenset(wanted.tunnels), where
        with inside(self._namespace):
            problems = self._devices.hold(wanted.tunnels, recheck=recheck)
            if problem := self._paths.hold(wanted.return_paths, mark_base=wanted.mark_base, recheck=recheck):
                problems.setdefault(LINK_DEVICE, problem)
            if recheck or new_bridges:
                allow_forwarding()
                open_gateway_bridge(GATEWAY_BRIDGE)
                self._accept_in_docker(wanted.mark_base)
            if recheck and (problem := problem_of(lambda: bring_home(self._routing, [process for process, _ in where.values()]))):
                problems.setdefault(GATEWAY_BRIDGE, problem)
            if recheck or new_tasks:
                set_task_ports(self._routing)
        # Backends first: a port that is open leads somewhere.
        sandboxes = self._sandboxes.hold(wanted.sandboxes, where, recheck=recheck)
        return Outcome(tunnels=problems, sandboxes=sandboxes, node=self._hold_node(wanted, recheck=recheck))

    def _hold_node(self, wanted: Desired, *, recheck: bool) -> str:
        if wanted.node_table is None:
            return ""
        try:
            self._node.hold(wanted.node_table, recheck=recheck)
        except NftError as refused:
            return str(refused)
        before, self._published = self._published, wanted.published
        gone = {(key[1], address) for key, address in gone_destinations(before, wanted.published) if key[0] == "udp"}
        if gone:
            kernel = Netlink(NETFILTER, namespace=self._namespace)
            try:
                forget_udp(kernel, lambda flow: (flow.port, flow.answered_by) in gone)
            finally:
                kernel.close()
        return ""

    def _accept_in_docker(self, mark_base: int) -> None:
        """What Docker's FORWARD policy would drop of ours. Without Docker's chains there is nothing to do."""
        rule = docker_user_rule(mark_base)
        command = (*enter_command(self._namespace), "iptables", "-w")
        try:
            if self._quiet(*command, "-C", "DOCKER-USER", *rule):
                return
            if self._quiet(*command, "-L", "DOCKER-USER", "-n"):
                self._quiet(*command, "-I", "DOCKER-USER", *rule)
        except FileNotFoundError:
            return

    @staticmethod
    def _quiet(*command: str) -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def open_gateway(self) -> None:
        """The local gateway bridge was just made."""
        with inside(self._namespace):
            open_gateway_bridge(GATEWAY_BRIDGE)

    def missing(self, bridges: Sequence[BridgeNetwork]) -> list[BridgeNetwork]:
        """Those of the engine's bridges whose interface somebody removed."""
        return missing(self._routing, bridges)

    def make_bridge(self, wanted: BridgeNetwork) -> None:
        with inside(self._namespace):
            make_bridge(self._routing, wanted)

    # -- answers -----------------------------------------------------------------------------------------------------------------------
    def mtu_at(self, address: str) -> int:
        return local_mtu(self._routing, address)

    def has_address(self, address: str) -> bool:
        return any(here == address for _, here, _ in addresses(self._routing))

    def host_routes(self) -> tuple[list[Route], dict[int, str]]:
        """The main table's routes, and the names of the interfaces."""
        return routes(self._routing), {link.index: link.name for link in links(self._routing).values()}

    # -- the end -----------------------------------------------------------------------------------------------------------------------
    def clear(self, mark_base: int) -> None:
        """Leave nothing behind in the node's namespace: devices, rules, tables. Sandboxes go with their tasks."""
        with inside(self._namespace):
            self._devices.hold({}, recheck=True)
            self._paths.hold({}, mark_base=mark_base, recheck=True)
            self._quiet(*enter_command(self._namespace), "iptables", "-w", "-D", "DOCKER-USER", *docker_user_rule(mark_base))
        self._node.run("".join(f"add table ip {name}\ndelete table ip {name}\n" for name in (TABLE, STAND_IN, ANCHOR)))

    def remove_bridges(self) -> None:
        """Bridges of ours that no engine answers for any more."""
        there = links(self._routing)
        ours = [link for name, link in there.items() if name.startswith(BRIDGE_PREFIX) or name == GATEWAY_BRIDGE]
        self._routing.do(*(delete_link(link.index) for link in ours))
