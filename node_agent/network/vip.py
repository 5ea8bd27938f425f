"""Service VIPs in the client's own namespace: the table of one sandbox. Pure; see docs/design/data_plane.md.

The destination is rewritten where the connection starts: no proxy, the backend sees the client's address, and an open connection
stays where it is when the choice changes. A VIP without a ready backend refuses at once instead of timing out.
"""

from collections.abc import Mapping
from functools import lru_cache

from cluster.api.values import Value
from node_agent.network.affinity import CLIENT, owners
from node_agent.network.naming import TABLE
from node_agent.network.tables import Chain, Lookup, Table

_REMEMBERED = 16384


class Choice(Value, frozen=True, kw_only=True):
    """Among which backends a new connection has the choice."""

    ready: tuple[str, ...] = ()
    """Addresses of the tasks that take traffic."""
    near: tuple[str, ...] = ()
    """Those of them that are preferred, as they are on this node; empty: none is."""
    affine: bool = False
    """A client stays with its backend for as long as that is there."""

    @property
    def among(self) -> tuple[str, ...]:
        return tuple(sorted(self.near or self.ready))


def vip_table(vips: Mapping[str, Choice]) -> Table:
    """From VIP -> its backends."""
    chains = {
        "c_out": Chain(hook="type nat hook output priority -100", rules=("ip daddr vmap @vips",)),
        # What a chain above has translated carries a backend's address by now.
        "c_refuse": Chain(hook="type filter hook output priority 0", rules=("ip daddr @refused reject",)),
    }
    chains |= {chain_of(vip): _chain(vip, choice) for vip, choice in vips.items()}
    lookups = {
        "vips": Lookup(type="ipv4_addr : verdict", elements={vip: _verdict(vip) for vip in vips}, is_map=True),
        "refused": Lookup(type="ipv4_addr", elements=dict.fromkeys(vips, "")),
    }
    lookups |= {_clients_of(vip): _clients(choice) for vip, choice in vips.items() if choice.affine and len(choice.among) > 1}
    return Table(family="ip", name=TABLE, chains=chains, lookups=lookups)


# Pure, and asked again for every VIP of a network whenever one of them changes.
@lru_cache(maxsize=_REMEMBERED)
def chain_of(vip: str) -> str:
    return "v_" + vip.replace(".", "_")


@lru_cache(maxsize=_REMEMBERED)
def _verdict(vip: str) -> str:
    return f"goto {chain_of(vip)}"


@lru_cache(maxsize=_REMEMBERED)
def _chain(vip: str, choice: Choice) -> Chain:
    """The rule that sends a new connection to one of them."""
    among = choice.among
    if not among:
        return Chain()
    if len(among) == 1:
        return Chain(rules=(f"dnat to {among[0]}",))
    if choice.affine:
        return Chain(rules=(f"dnat to {CLIENT} map @{_clients_of(vip)}",))
    places = ", ".join(f"{place} : {address}" for place, address in enumerate(among))
    return Chain(rules=(f"dnat to numgen random mod {len(among)} map {{ {places} }}",))


def _clients_of(vip: str) -> str:
    return "a_" + vip.replace(".", "_")


@lru_cache(maxsize=_REMEMBERED)
def _clients(choice: Choice) -> Lookup:
    elements = owners({address: address for address in choice.among})
    return Lookup(type=f"{CLIENT} : ip daddr", by_example=True, is_map=True, elements=elements)
