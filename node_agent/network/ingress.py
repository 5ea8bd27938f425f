"""Published ports on every node, the client's address preserved. Pure: the chains and lookups of the node's table.

Two steps. The node that a client speaks to chooses among all ready tasks: a local one directly, a remote one by its node, over the
node link, at the published port. That node chooses among its own. Replies find back by the connection's mark: the node they came
in through is in it, and a routing rule a node sends them over the link. So a task's coming and going changes the rules of its own node;
the others change only a weight.
"""

from collections.abc import Iterator, Mapping, Sequence

from cluster.api.values import Value
from node_agent.network.affinity import CLIENT, owners
from node_agent.network.marks import number_mark, number_mask, ours_bit
from node_agent.network.naming import BRIDGE_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE, mac_of
from node_agent.network.tables import Chain, Lookup

TASK_BRIDGES = f'{{ "{BRIDGE_PREFIX}*", "{GATEWAY_BRIDGE}" }}'
_OWN_DEVICES = f'{{ "{BRIDGE_PREFIX}*", "{GATEWAY_BRIDGE}", "{LINK_DEVICE}" }}'


Port = tuple[str, str, int]
"""Protocol, host address (empty: all), number."""


class Holding(Value, frozen=True, kw_only=True):
    """Which published ports of this node are not ours to take."""

    taken: Mapping[Port, str] = {}
    """Ports that others have, and who."""
    besides: frozenset[tuple[str, str, int]] = frozenset()
    """(address, protocol, number) that others listen at, where the port is ours on all other addresses."""


NOTHING_HELD = Holding()
NAMES_PORT = 53
"""Our name server listens there, and the host's may, each at an address of its own: no socket holds it."""


class Published(Value, frozen=True, kw_only=True):
    """One published port, as this node serves it."""

    protocol: str
    port: int
    target: int
    host_ip: str = ""
    local: tuple[str, ...] = ()
    """Addresses of the ready tasks on this node."""
    leaving: tuple[str, ...] = ()
    """Tasks on this node that were taken out here, while other nodes may not have heard of it."""
    remote: Mapping[str, int] = {}
    """Where another node is reached (its link address, if both are on the link) -> its ready tasks."""
    near_first: bool = False
    """Tasks of this node go before those of others."""
    clients: Mapping[str, str] = {}
    """For a service that keeps clients together: task -> where it is reached from here. Empty: each connection by itself."""

    @property
    def entering(self) -> frozenset[str]:
        """Where connections go that come in here."""
        return frozenset(self.local if self.near_first and self.local else (*self.local, *self.remote))

    @property
    def key(self) -> Port:
        return self.protocol, self.host_ip, self.port

    @property
    def arriving(self) -> tuple[str, ...]:
        """Where connections go that other nodes sent here: to one that leaves rather than to nobody."""
        return self.local or self.leaving


def ingress_chains(ports: Sequence[Published], *, mark_base: int) -> dict[str, Chain]:
    ours, mask = ours_bit(mark_base), number_mask(mark_base)
    return _marking(ours, mask) | _translating(ours) | _guarding() | _choosing(ports, ours)


def _marking(ours: int, mask: int) -> dict[str, Chain]:
    """Which node a connection came in through, and its replies back to that one."""
    reply = f"ct direction reply ct mark & {ours:#x} != 0 ct mark & {mask:#x} != 0"
    return {
        # A local address in a packet from outside the host would pass, now that our devices route 127.0.0.0/8.
        # Peers keep one zone each: a client may use one source port towards two nodes, and both may send it here. The map is one that
        # outlives the rule: a packet under way that found none would be nobody's, and reset the connection that it belongs to.
        "c_raw": Chain(
            hook="type filter hook prerouting priority -300",
            rules=(
                f"iifname {_OWN_DEVICES} ip daddr 127.0.0.0/8 drop",
                f'iifname "{LINK_DEVICE}" ct original zone set ether saddr map @zones',
            ),
        ),
        "c_mark": Chain(
            hook="type filter hook prerouting priority -150",
            rules=(
                f'iifname "{LINK_DEVICE}" ct state new ct mark set ether saddr map @peers',
                f"iifname {_OWN_DEVICES} {reply} meta mark set ct mark & {mask:#x}",
            ),
        ),
        # Refusals that this node itself makes of what another one sent find back like a task's replies.
        "c_route": Chain(hook="type route hook output priority -150", rules=(f"{reply} meta mark set ct mark & {mask:#x}",)),
        # The packet around ours inherits the mark and would be routed into the link itself.
        "c_clear": Chain(
            hook="type filter hook postrouting priority 200",
            rules=(f'oifname "{LINK_DEVICE}" meta mark set meta mark & {0xFFFF_FFFF ^ mask:#x}',),
        ),
    }


def _translating(ours: int) -> dict[str, Chain]:
    """Which connections go to tasks, and which of these by an address of this node."""
    here = (
        "ip daddr . meta l4proto . th dport @besides accept",
        "fib daddr type local ip daddr . meta l4proto . th dport vmap @published_at",
        "fib daddr type local meta l4proto . th dport vmap @published",
    )
    return {
        # What another node sent here for a task that has just ended goes on to one that has not. So does what comes to a chain of
        # arrivals that is only just being made: it is empty for packets that are under way, and they return from it.
        # Tasks ask their names of the gateways, and hosts theirs of servers in 127.0.0.0/8: a published port 53 takes neither.
        "c_pre": Chain(
            hook="type nat hook prerouting priority -100",
            rules=(
                f'iifname "{LINK_DEVICE}" meta l4proto . th dport vmap @arrived',
                "ip saddr @unlinked fib daddr type local meta l4proto . th dport vmap @arrived",
                "ip daddr @gateways th dport 53 accept",
                *here,
            ),
        ),
        "c_out": Chain(
            hook="type nat hook output priority -100",
            rules=("ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1 accept", *here),
        ),
        # A reply to 127.0.0.1 would not leave its node, and one to a task on the same network would not pass here.
        "c_post": Chain(
            hook="type nat hook postrouting priority 90",
            rules=(
                f"ct mark & {ours:#x} != 0 ct original ip saddr @inside masquerade",
                # A node that asks another one for a task of its own would see its own address come in from outside. If that task is gone
                # by then, the node to which it is sent on may be the one that was asked, and which put its own address in.
                f'oifname "{LINK_DEVICE}" ip saddr . ip daddr @returning masquerade',
                # A node that is not on the link answers whom it sees.
                f"ct mark & {ours:#x} != 0 ip daddr @unlinked masquerade",
            ),
        ),
    }


def _guarding() -> dict[str, Chain]:
    return {
        # What reaches the sockets that hold the ports was not translated: there is no task to go to.
        "c_closed": Chain(
            hook="type filter hook input priority 0",
            rules=(
                "ip daddr . meta l4proto . th dport @besides accept",
                "ct state new meta l4proto tcp meta l4proto . th dport @held reject with tcp reset",
                "ct state new meta l4proto . th dport @held reject",
            ),
        ),
        "c_mss": Chain(
            hook="type filter hook forward priority -150",
            rules=(f'oifname "{LINK_DEVICE}" tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu',),
        ),
    }


def _choosing(ports: Sequence[Published], ours: int) -> dict[str, Chain]:
    """A chain for each choice: among all tasks, and among those of this node."""
    chains = {}
    for port in ports:
        chains[_chain("n", port)] = Chain(rules=(f"ct mark set ct mark | {ours:#x}", *_spread("n", port, list(_everywhere(port)))))
        if port.arriving:
            tasks = [(f"{address} . {port.target}", 1) for address in port.arriving]
            chains[_chain("l", port)] = Chain(rules=(f"ct mark set ct mark | {ours:#x}", *_spread("l", port, tasks)))
    return chains


class Places(Value, frozen=True, kw_only=True):
    """Who is where, as far as published ports have to know."""

    numbers: Mapping[int, str] = {}
    """The other nodes' numbers -> link addresses."""
    nodes: Mapping[str, str] = {}
    """Their link addresses -> data path addresses."""
    subnets: tuple[str, ...] = ()
    """Where tasks of this node are."""
    gateways: tuple[str, ...] = ()
    """Where they ask for names."""
    unlinked: tuple[str, ...] = ()
    """The addresses of nodes that are not on the link."""


def ingress_lookups(ports: Sequence[Published], places: Places, *, mark_base: int, holding: Holding = NOTHING_HELD) -> dict[str, Lookup]:
    """Ports that somebody else has are left to them; what other nodes send for them still arrives."""
    ours = ours_bit(mark_base)
    entering = [port for port in ports if port.key not in holding.taken]
    anywhere = [port for port in entering if not port.host_ip]
    chosen = [port for port in entering if port.host_ip]
    macs = {mac_of(address): number for number, address in places.numbers.items()}
    by_port, verdict = "inet_proto . inet_service", "verdict"
    clients = {_clients_of(step, port): _clients(port, among) for port in ports for step, among in _affine(port)}
    return clients | {
        "peers": Lookup(
            type="ether_addr : mark", is_map=True, elements={mac: f"{number_mark(mark_base, n) | ours:#x}" for mac, n in macs.items()}
        ),
        "zones": Lookup(
            type="ether saddr : ct zone", by_example=True, is_map=True, elements={mac: str(number) for mac, number in macs.items()}
        ),
        "inside": Lookup(type="ipv4_addr; flags interval", elements=dict.fromkeys(["127.0.0.0/8", *places.subnets], "")),
        "besides": Lookup(
            type=f"ipv4_addr . {by_port}", elements={f"{addr} . {proto} . {port}": "" for addr, proto, port in sorted(holding.besides)}
        ),
        "held": Lookup(type=by_port, elements={f"{port.protocol} . {port.port}": "" for port in entering if port.port != NAMES_PORT}),
        "unlinked": Lookup(type="ipv4_addr", elements=dict.fromkeys(places.unlinked, "")),
        "gateways": Lookup(type="ipv4_addr", elements=dict.fromkeys(places.gateways, "")),
        "returning": Lookup(
            type="ipv4_addr . ipv4_addr",
            elements={f"{source} . {link}": "" for link, addr in places.nodes.items() for source in (addr, link)},
        ),
        "published": Lookup(
            type=f"{by_port} : {verdict}",
            is_map=True,
            elements={f"{port.protocol} . {port.port}": f"goto {_chain('n', port)}" for port in anywhere},
        ),
        "published_at": Lookup(
            type=f"ipv4_addr . {by_port} : {verdict}",
            is_map=True,
            elements={f"{port.host_ip} . {port.protocol} . {port.port}": f"goto {_chain('n', port)}" for port in chosen},
        ),
        "arrived": Lookup(
            type=f"{by_port} : {verdict}",
            is_map=True,
            elements={f"{port.protocol} . {port.port}": f"jump {_chain('l', port)}" for port in ports if port.arriving},
        ),
    }


def _chain(step: str, port: Published) -> str:
    """`n` for the choice among nodes, `l` for the one among local tasks."""
    where = f"_{port.host_ip.replace('.', '_')}" if port.host_ip else ""
    return f"{step}_{port.protocol}_{port.port}{where}"


def _everywhere(port: Published) -> Iterator[tuple[str, int]]:
    """Each destination with its weight: a task counts once, wherever it is."""
    yield from ((f"{address} . {port.target}", 1) for address in port.local)
    yield from ((f"{address} . {port.port}", weight) for address, weight in sorted(port.remote.items()) if address in port.entering)


def _affine(port: Published) -> Iterator[tuple[str, dict[str, str]]]:
    """The steps at which the client's address decides, with the tasks that it decides among."""
    for step, places in (("n", port.entering), ("l", frozenset(port.local))):
        among = {task: place for task, place in port.clients.items() if place in places}
        if len(among) > 1:
            yield step, among


def _clients_of(step: str, port: Published) -> str:
    return f"a_{_chain(step, port)}"


def _clients(port: Published, among: Mapping[str, str]) -> Lookup:
    reached = {task: f"{place} . {port.target if place in port.local else port.port}" for task, place in among.items()}
    return Lookup(type=f"{CLIENT} : ip daddr . th dport", by_example=True, is_map=True, elements=owners(reached))


def _spread(step: str, port: Published, weighted: list[tuple[str, int]]) -> tuple[str, ...]:
    """The last rule is for a packet that is under way while this chain is replaced: the map that it looks into is empty by then."""
    if not weighted:
        return ()
    anywhere = f"meta l4proto {port.protocol} dnat to {weighted[0][0].replace(' . ', ':')}"
    if len(weighted) == 1:
        return (anywhere,)
    if step in dict(_affine(port)):
        return (f"meta l4proto {port.protocol} dnat to {CLIENT} map @{_clients_of(step, port)}", anywhere)
    places, at = [], 0
    for destination, weight in weighted:
        places.append(f"{at}-{at + weight - 1} : {destination}" if weight > 1 else f"{at} : {destination}")
        at += weight
    return (f"meta l4proto {port.protocol} dnat to numgen random mod {at} map {{ {', '.join(places)} }}", anywhere)
