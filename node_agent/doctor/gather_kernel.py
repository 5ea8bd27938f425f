"""Asks the kernel of this namespace: settings, links, routes, firewalls, what it can do. Thin; whatever cannot be read is missing."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from node_agent.doctor import iptables_rules, nft_rules
from node_agent.doctor.packets import Firewall
from node_agent.network.firewall import docker_user_rule
from node_agent.network.marks import ROUTING_PRIORITY, routing_number
from node_agent.network.naming import ANCHOR, STAND_IN, TABLE
from node_agent.network.netlink import Netlink
from node_agent.network.routes import Route
from node_agent.network.rtnetlink import Link, addresses, links, routes, rules

_SYS = Path("/proc/sys")
_NAMED = (
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
    "net.ipv4.conf.all.rp_filter",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
)
_SECONDS = 10.0

_BALANCING = "type nat hook output priority -100; meta l4proto tcp dnat to numgen random mod 2 map { 0 : 10.0.0.1 . 1, 1 : 10.0.0.2 . 1 };"
_TRACKING = "type filter hook prerouting priority -300; ct original zone set 7; ct state new accept;"
PROBES: Mapping[str, str] = {
    "nftables": f"nft 'add table ip p {{ chain c {{ {_BALANCING} }}; }}'",
    "connection tracking": f"nft 'add table ip t {{ chain c {{ {_TRACKING} }}; }}'",
    "VXLAN": "ip link add v0 type vxlan id 7 dstport 4789 nolearning proxy",
    "bridges": "ip link add b0 type bridge && ip link add e0 type veth peer name e1 && ip link set e0 master b0",
    "policy routing": "ip link set lo up && ip rule add fwmark 0x100000/0xfff00000 lookup 77 priority 5348",
}
"""Each is tried in a namespace of its own, of which nothing stays."""


class KernelFacts(NamedTuple):
    settings: Mapping[str, str]
    links: Mapping[str, Link]
    addresses: Mapping[str, str]
    routes: tuple[Route, ...]
    routing_rules: int
    tables: tuple[str, ...]
    accepts_in_docker: bool
    firewalls: tuple[Firewall, ...]


def look(mark_base: int) -> KernelFacts:
    kernel = Netlink()
    try:
        there = links(kernel)
        names = {link.index: link.name for link in there.values()}
        where = {address: names.get(index, "") for index, address, _ in addresses(kernel)}
        found = tuple(routes(kernel))
        ours = sum(1 for _, _, table in rules(kernel, ROUTING_PRIORITY) if routing_number(table))
    finally:
        kernel.close()
    listed = said("nft", "list", "tables").split("\n")
    return KernelFacts(
        settings=dict(_settings(there)),
        links=there,
        addresses=where,
        routes=found,
        routing_rules=ours,
        tables=tuple(name for name in (TABLE, STAND_IN, ANCHOR) if f"table ip {name}" in listed),
        accepts_in_docker=_quiet("iptables", "-w", "-C", "DOCKER-USER", *docker_user_rule(mark_base)),
        firewalls=tuple(_firewalls()),
    )


def lacking() -> Mapping[str, str]:
    """The probes that failed, with what was said."""
    failed = {}
    for what, command in PROBES.items():
        try:
            done = subprocess.run(("unshare", "--net", "sh", "-c", command), capture_output=True, text=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as problem:
            failed[what] = str(problem)
            continue
        if done.returncode:
            failed[what] = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
    return failed


def _settings(there: Mapping[str, Link]) -> Iterator[tuple[str, str]]:
    names = (*_NAMED, *(f"net.ipv4.conf.{link}.rp_filter" for link in there))
    for name in names:
        head, _, tail = name.partition(".conf.")
        link, _, leaf = tail.rpartition(".")  # an interface's name may have dots
        path = _SYS / name.replace(".", "/") if not tail else _SYS / head.replace(".", "/") / "conf" / link / leaf
        with suppress(OSError):
            yield name, path.read_text().strip()


def _firewalls() -> Iterator[Firewall]:
    for tool in ("iptables", "iptables-legacy"):
        if saved := said(f"{tool}-save", "-t", "filter"):
            yield iptables_rules.read(saved, tool=tool)
    yield from nft_rules.read(said("nft", "-j", "list", "ruleset").encode())


def said(*command: str) -> str:
    """What it prints; nothing if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _quiet(*command: Sequence[str] | str) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([str(word) for word in command], capture_output=True, check=False, timeout=_SECONDS).returncode == 0
    return False
