"""Service VIPs in the client's own namespace: the table of one sandbox. Pure; see docs/design/data_plane.md.

The destination is rewritten where the connection starts: no proxy, the backend sees the client's address, and an open connection
stays where it is when the choice changes. A VIP without a ready backend refuses at once instead of timing out.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from node_agent.network.naming import TABLE
from node_agent.network.tables import Chain, Lookup, Table

_REMEMBERED = 16384


def vip_table(vips: Mapping[str, tuple[str, ...]]) -> Table:
    """From VIP -> addresses of its ready backends."""
    chains = {
        "c_out": Chain(hook="type nat hook output priority -100", rules=("ip daddr vmap @vips",)),
        # What a chain above has translated carries a backend's address by now.
        "c_refuse": Chain(hook="type filter hook output priority 0", rules=("ip daddr @refused reject",)),
    }
    chains |= {chain_of(vip): _chain(backends) for vip, backends in vips.items()}
    return Table(
        family="ip",
        name=TABLE,
        chains=chains,
        lookups={
            "vips": Lookup(type="ipv4_addr : verdict", elements={vip: _verdict(vip) for vip in vips}, is_map=True),
            "refused": Lookup(type="ipv4_addr", elements=dict.fromkeys(vips, "")),
        },
    )


# Pure, and asked again for every VIP of a network whenever one of them changes.
@lru_cache(maxsize=_REMEMBERED)
def chain_of(vip: str) -> str:
    return "v_" + vip.replace(".", "_")


@lru_cache(maxsize=_REMEMBERED)
def _verdict(vip: str) -> str:
    return f"goto {chain_of(vip)}"


@lru_cache(maxsize=_REMEMBERED)
def _chain(backends: tuple[str, ...]) -> Chain:
    return Chain(rules=choice(backends))


def choice(backends: Iterable[str]) -> tuple[str, ...]:
    """The rule that sends a new connection to one of them, each as likely as the other."""
    ordered = sorted(backends)
    if not ordered:
        return ()
    if len(ordered) == 1:
        return (f"dnat to {ordered[0]}",)
    places = ", ".join(f"{place} : {address}" for place, address in enumerate(ordered))
    return (f"dnat to numgen random mod {len(ordered)} map {{ {places} }}",)
