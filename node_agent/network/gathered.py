"""All parts put together, network by network. Pure: the same whether from nothing or step by step, and a step costs what it changes.

A cluster has a thousand services and one of them changes: its part is made again, and the maps that it is in are the old ones but for it
(`shards`), so that whoever holds the old ones finds what differs without a look at the rest.
"""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from cluster.api.endpoint import OverlayNetwork, Peer, ServiceEndpoint
from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.dns.zone import Names
from node_agent.network.ingress import Published
from node_agent.network.parts import NO_MEMBERSHIP, Membership, Nodes, Own, Part, own_tasks, part_of, part_of_guests
from node_agent.network.shards import Shards
from node_agent.network.view import Known
from node_agent.network.vip import Way

V = TypeVar("V")
Step = tuple[Id, V, V]
"""An owner, what it had and what it has."""


class Claimed(Value, Generic[V], frozen=True, kw_only=True):
    """What several owners say of one key: the greatest owner's word counts. There is more than one for moments at most."""

    claims: Shards[str, Mapping[Id, V]] = Shards()
    held: Shards[str, V] = Shards()


class OnNetwork(Value, frozen=True, kw_only=True):
    """What is on one network."""

    ways: Claimed[Way] = Claimed()
    """By VIP."""
    spreads: Mapping[int, int] = {}
    """Size of a choice -> how many VIPs have it."""
    remote: Claimed[str] = Claimed()
    """See `Membership.remote`."""
    called: Shards[Id, Names] = Shards()
    """By service; the names of its guests by the network itself."""


NOTHING_THERE = OnNetwork()


class Gathered(Value, frozen=True, kw_only=True):
    parts: Shards[Id, Part] = Shards()
    """By service; those of guests by their network."""
    networks: Mapping[Id, OnNetwork] = {}
    publishing: Mapping[Id, Part] = {}
    """Those with published ports."""
    published: tuple[Published, ...] = ()

    def on(self, network_id: Id) -> OnNetwork:
        return self.networks.get(network_id, NOTHING_THERE)


NOTHING_GATHERED = Gathered()


def gather(before: Gathered, changed: Mapping[Id, Part], gone: Iterable[Id] = ()) -> Gathered:
    """With these parts in place of what was there by their names."""
    nothing = Part()
    steps = [(key, before.parts.get(key, nothing), changed.get(key, nothing)) for key in {*gone, *changed}]
    ports = [(key, part) for key, had, part in steps if had.published or part.published]
    publishing, published = before.publishing, before.published
    if ports:
        publishing = {key: part for key, part in {**publishing, **dict(ports)}.items() if part.published}
        published = tuple(port for key in sorted(publishing) for port in publishing[key].published)
    return Gathered(
        parts=before.parts.but(changed, (key for key in gone if key not in changed)),
        networks=_networks(before, steps),
        publishing=publishing,
        published=published,
    )


def _networks(before: Gathered, steps: Iterable[Step[Part]]) -> dict[Id, OnNetwork]:
    there: dict[Id, list[Step[Membership | None]]] = {}
    for owner, had, has in steps:
        for network in {*had.memberships, *has.memberships}:
            there.setdefault(network, []).append((owner, had.memberships.get(network), has.memberships.get(network)))
    networks = dict(before.networks)
    for network, members in there.items():
        after = _on_network(before.on(network), members)
        if after.called:
            networks[network] = after
        else:
            networks.pop(network, None)
    return networks


def _on_network(before: OnNetwork, steps: list[Step[Membership | None]]) -> OnNetwork:
    those = [(owner, had or NO_MEMBERSHIP, has or NO_MEMBERSHIP) for owner, had, has in steps]
    ways = claim(before.ways, ((owner, had.ways, has.ways) for owner, had, has in those))
    return OnNetwork(
        ways=ways,
        spreads=_counted(before.spreads, before.ways.held, ways.held),
        remote=claim(before.remote, ((owner, had.remote, has.remote) for owner, had, has in those)),
        called=before.called.but(
            {owner: has.called for owner, had, has in steps if has is not None and (had is None or had.called != has.called)},
            (owner for owner, _, has in steps if has is None),
        ),
    )


def claim(before: Claimed[V], steps: Iterable[Step[Mapping[str, V]]]) -> Claimed[V]:
    touched: dict[str, dict[Id, V]] = {}

    def claims_of(key: str) -> dict[Id, V]:
        if key not in touched:
            touched[key] = dict(before.claims.get(key, {}))
        return touched[key]

    for owner, had, has in steps:
        for key in had.keys() - has.keys():
            claims_of(key).pop(owner, None)
        for key, value in has.items():
            if had.get(key) != value:
                claims_of(key)[owner] = value
    if not touched:
        return before
    left = {key: claims for key, claims in touched.items() if claims}
    gone = [key for key, claims in touched.items() if not claims]
    return Claimed(
        claims=before.claims.but(left, gone), held=before.held.but({key: claims[max(claims)] for key, claims in left.items()}, gone)
    )


def _counted(spreads: Mapping[int, int], before: Shards[str, Way], after: Shards[str, Way]) -> Mapping[int, int]:
    changed, gone = after.since(before)
    counts = dict(spreads)
    for vip in (*gone, *changed):
        if (had := before.get(vip)) is not None:
            counts[had.spread] = counts.get(had.spread, 0) - 1
    for way in changed.values():
        counts[way.spread] = counts.get(way.spread, 0) + 1
    return {size: count for size, count in counts.items() if size and count}


class _Inputs(Value, frozen=True, kw_only=True):
    """What all parts are made from."""

    nodes: Nodes | None = None
    services: Mapping[Id, ServiceEndpoint] = {}
    own: Mapping[Id, tuple[Own, ...]] = {}
    guests: Mapping[Id, OverlayNetwork] = {}


class Gatherer:
    """Remembers what it gathered last, and from what."""

    def __init__(self) -> None:
        self._inputs = _Inputs()
        self._gathered = NOTHING_GATHERED

    def gather(self, known: Known, me: Peer) -> Gathered:
        """What follows from what is known, and from nothing that was known before."""
        nodes = Nodes(me=me, peers=known.view.peers, link_subnet=known.view.ingress_subnet, silent=known.silent)
        guests = {key: network for key, network in known.networks.items() if network.guests}
        inputs = _Inputs(nodes=nodes, services=known.view.services, own=own_tasks(known), guests=guests)
        before, self._inputs = self._inputs, inputs
        changed = {key: part_of(inputs.services[key], nodes, inputs.own.get(key, ())) for key in _touched(before, inputs)}
        anew = before.nodes != nodes
        changed |= {key: part_of_guests(one, nodes) for key, one in guests.items() if anew or before.guests.get(key) != one}
        had = self._gathered.parts
        changed = {key: part for key, part in changed.items() if had.get(key) != part}
        gone = (*(before.services.keys() - inputs.services.keys()), *(before.guests.keys() - guests.keys()))
        if changed or gone:
            self._gathered = gather(self._gathered, changed, gone)
        return self._gathered


def _touched(before: _Inputs, now: _Inputs) -> Iterable[Id]:
    """The services whose part has to be made again."""
    if before.nodes != now.nodes:
        return now.services
    had = before.services.get
    changed = {key for key, service in now.services.items() if (was := had(key)) is not service and was != service}
    tasks = {key for key in before.own.keys() | now.own.keys() if before.own.get(key) != now.own.get(key)}
    return changed | (tasks & now.services.keys())
