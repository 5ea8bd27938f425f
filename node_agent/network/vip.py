"""Service VIPs in the client's own namespace: the table of one sandbox. Pure; see docs/design/data_plane.md.

The destination is rewritten where the connection starts: no proxy, the backend sees the client's address, and an open connection
stays where it is when the choice changes. A VIP without a ready backend refuses at once instead of timing out.
"""

from collections.abc import Iterable, Iterator, Mapping

from cluster.api.values import Value
from node_agent.network.affinity import CLIENT, owners
from node_agent.network.naming import TABLE
from node_agent.network.tables import Chain, Lookup, Table

ASKED = "asked"
"""The set that the kernel itself fills: VIPs that were sent a datagram."""

PLAIN = frozenset({"refused", "vips", "one", "backends", "clients"})
"""Lookups whose elements can be told to the kernel without the library."""
_BY_NUMBER = "ip daddr . numgen random mod 2 : ip daddr"
"""For slots too, which are numbers of the same kind: nft 1.0.6 dies when it lists a map by address and hash."""


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


class Way(Value, frozen=True, kw_only=True):
    """How one VIP is translated: made once for all tables that have it."""

    choice: Choice
    spread: int
    """Its chain draws one of so many numbers; 0: it has none of these chains."""
    elements: Mapping[str, Mapping[str, str]]
    """What it has in each of the table's lookups."""


def way(vip: str, choice: Choice) -> Way:
    among = choice.among
    many = len(among) > 1
    spread = len(among) if many and not choice.affine else 0
    elements = {"refused": {vip: ""}}
    if among:
        elements["one"] = {vip: among[0]}
    if spread:
        elements |= {"vips": {vip: f"jump {_chain(spread)}"}, "backends": {f"{vip} . {place}": addr for place, addr in enumerate(among)}}
    elif many:
        clients = owners({address: address for address in among})
        elements |= {"vips": {vip: "jump c_client"}, "clients": {f"{vip} . {slot}": address for slot, address in clients.items()}}
    return Way(choice=choice, spread=spread, elements=elements)


def vip_table(*ways: Mapping[str, Way], spreads: Iterable[int] | None = None) -> Table:
    """From VIP -> its way, network by network; `spreads`: the sizes of their choices, if they are known.

    No chain is a service's own: nftables reads all chains before a change, and a thousand take long.
    A packet under way while a backend goes may draw a number that is no more, or come to a chain that is not yet: it goes to `@one`.
    """
    sizes = spreads if spreads is not None else (way.spread for those in ways for way in those.values())
    chains = {
        "c_out": Chain(
            hook="type nat hook output priority -100",
            rules=(
                f"meta l4proto udp ip daddr @refused add @{ASKED} {{ ip daddr }}",
                "ip daddr vmap @vips",
                "dnat to ip daddr map @one",
            ),
        ),
        # What a chain above has translated carries a backend's address by now.
        "c_refuse": Chain(hook="type filter hook output priority 0", rules=("ip daddr @refused reject",)),
        "c_client": Chain(rules=(f"dnat to ip daddr . {CLIENT} map @clients",)),
        **dict(_spreading(sorted({*sizes} - {0}))),
    }
    lookups = {
        "refused": Lookup(type="ipv4_addr"),
        ASKED: Lookup(type="ipv4_addr; flags dynamic; size 65536"),
        "vips": Lookup(type="ipv4_addr : verdict", is_map=True),
        "one": Lookup(type="ipv4_addr : ipv4_addr", is_map=True),
        "backends": Lookup(type=_BY_NUMBER, by_example=True, is_map=True),
        "clients": Lookup(type=_BY_NUMBER, by_example=True, is_map=True),
    }
    return Table(family="ip", name=TABLE, chains=chains, lookups=lookups, groups=ways)


def _spreading(sizes: list[int]) -> Iterator[tuple[str, Chain]]:
    for size in sizes:
        yield _chain(size), Chain(rules=(f"dnat to ip daddr . numgen random mod {size} map @backends",))


def _chain(size: int) -> str:
    """The choice among so many backends."""
    return f"n_{size}"
