"""The address pools of a network: which gateway, range and auxiliary address belongs to which subnet. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


def pools(subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], auxiliary: Mapping[str, str]) -> list[dict[str, Any]]:
    """One pool a subnet; whatever lies in no subnet is refused."""
    if len(subnets) < max(len(ranges), len(gateways)):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    nets = _apart(subnets)
    found: dict[str, dict[str, Any]] = {text: {"Subnet": text} for text in subnets}
    for what, member, texts in (("range", "IPRange", ranges), ("gateway", "Gateway", gateways)):
        for text in texts:
            pool = found[_home(nets, what, text)]
            if member in pool:
                raise ValueError(f"cannot configure multiple {what}s ({text}, {pool[member]}) on the same subnet ({pool['Subnet']})")
            pool[member] = text
    for name, text in auxiliary.items():
        found[_home(nets, "aux-address", text)].setdefault("AuxiliaryAddresses", {})[name] = text
    return list(found.values())


def _apart(subnets: Sequence[str]) -> dict[str, Subnet]:
    """The subnets, of which no two may meet."""
    nets: dict[str, Subnet] = {}
    for text in subnets:
        try:
            net = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"invalid subnet {text}: write it as 10.1.2.0/24") from None
        if any(net.version == other.version and net.overlaps(other) for other in nets.values()):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        nets[text] = net
    return nets


def _home(nets: Mapping[str, Subnet], what: str, text: str) -> str:
    """The subnet that the address or range lies in."""
    try:
        address = ipaddress.ip_interface(text).ip
    except ValueError:
        raise ValueError(f"invalid {what} {text}: not an address") from None
    for subnet, net in nets.items():
        if address in net:
            return subnet
    raise ValueError(f"no matching subnet for {what} {text}")
