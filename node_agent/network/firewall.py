"""Who may speak to a task's address: the chains that keep overlays apart from one another and from the world. Pure.

An overlay's subnet is in the host's own routes, so without these a neighbour with a route reaches every task. A drop in any chain
is final, so this needs nobody's consent; what Docker's chains would drop of ours is accepted by our mark in DOCKER-USER.
"""

from collections.abc import Iterable

from node_agent.network.marks import ours_bit
from node_agent.network.naming import BRIDGE_PREFIX, GATEWAY_BRIDGE
from node_agent.network.tables import Chain, Lookup

_TASK_BRIDGES = f'{{ "{BRIDGE_PREFIX}*", "{GATEWAY_BRIDGE}" }}'


def firewall_chains(*, vxlan_port: int, vnis: Iterable[int], crypt_port: int = 0) -> dict[str, Chain]:
    """`c_forward`: into a task's bridge only from that bridge, or by a published port. `c_tunnel`: our VXLAN only from our nodes, and
    what is sealed, if there is any: who can forge neither need not keep us busy trying.
    """
    numbers = ", ".join(str(vni) for vni in sorted(vnis))
    tunnel = (f"udp dport {vxlan_port} @th,96,24 {{ {numbers} }} ip saddr != @nodes drop",) if numbers else ()
    if crypt_port:
        tunnel = (*tunnel, f"udp dport {crypt_port} ip saddr != @nodes drop")
    return {
        "c_forward": Chain(
            hook="type filter hook forward priority -10",
            rules=(
                f"oifname != {_TASK_BRIDGES} accept",
                "ct state established,related accept",
                "ct status dnat accept",
                "iifname . oifname @same_bridge accept",
                f"oifname {_TASK_BRIDGES} drop",
            ),
        ),
        "c_tunnel": Chain(hook="type filter hook input priority -10", rules=tunnel),
    }


def firewall_lookups(*, nodes: Iterable[str], bridges: Iterable[str]) -> dict[str, Lookup]:
    """With bridge-nf-call-iptables on, frames within a bridge pass the forward hook too."""
    return {
        "nodes": Lookup(type="ipv4_addr", elements=dict.fromkeys(sorted(nodes), "")),
        "same_bridge": Lookup(type="ifname . ifname", elements={f'"{bridge}" . "{bridge}"': "" for bridge in sorted(bridges)}),
    }


def docker_user_rule(mark_base: int) -> tuple[str, ...]:
    """The rule that DOCKER-USER must begin with, as arguments of iptables after the chain's name."""
    ours = ours_bit(mark_base)
    return ("-m", "connmark", "--mark", f"{ours:#x}/{ours:#x}", "-j", "ACCEPT")
