"""Who asked, and what is the answer: the name server's decision. Pure."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from random import Random
from socket import inet_aton

import msgspec

from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.dns import wire
from node_agent.network.dns.feed import changes
from node_agent.network.dns.zone import Caller, Name, Names, NetworkZone, Zone


class Answer(Value, frozen=True, kw_only=True):
    records: tuple[bytes, ...] = ()
    code: int = wire.NOERROR


class Hold(Value, frozen=True):
    """Not yet: the caller's VIPs are being programmed, or who is on its network is not known."""


class Forward(Value, frozen=True, kw_only=True):
    """Not ours: ask these, or the host's own servers if there are none."""

    upstreams: tuple[str, ...] = ()


Decision = Answer | Hold | Forward


class _Network:
    """One network's names by their wire form, each with its records made. What was made before is taken over, and changed in place: the
    index of ten thousand names is not copied for one.
    """

    def __init__(self, zone: NetworkZone, before: "_Network | None" = None) -> None:
        self.zone = zone
        self.subnet = IPv4Network(zone.subnet, strict=False) if zone.subnet else None
        self.suffix = wire.wire_name(zone.name)
        self.names: dict[bytes, tuple[tuple[str, _Records], ...]] = before.names if before else {}
        self.pointers: dict[str, str] = before.pointers if before else {}
        held = before.zone.services if before else {}
        changed, gone = changes(held, zone.services)
        for service in (*gone, *changed):
            self._forget(service, held.get(service, Names()))
        for service, called in changed.items():
            self._learn(service, called)

    def _forget(self, service: str, called: Names) -> None:
        for key in filter(None, map(wire.wire_name, called.names)):
            others = tuple(entry for entry in self.names.pop(key, ()) if entry[0] != service)
            if others:
                self.names[key] = others
        for address in called.pointers:
            self.pointers.pop(address, None)

    def _learn(self, service: str, called: Names) -> None:
        for name, target in called.names.items():
            if key := wire.wire_name(name):
                self.names[key] = (*self.names.get(key, ()), (service, _records(target)))
        self.pointers.update(called.pointers)

    def pointer(self, address: str) -> bytes | None:
        name = self.pointers.get(address)
        return None if name is None else wire.pointer_record(f"{name}.{self.zone.name}")

    def find(self, name: bytes) -> "_Records | None":
        """By its name, or by `name.network`."""
        found = self.names.get(name)
        if found is None and self.suffix and name.endswith(self.suffix) and len(name) > len(self.suffix):
            found = self.names.get(name[: -len(self.suffix)] + b"\0")
        if found is None:
            return None
        return found[0][1] if len(found) == 1 else _together([records for _, records in found])


class _Records(msgspec.Struct, frozen=True, kw_only=True):
    vips: tuple[bytes, ...]
    tasks: tuple[bytes, ...]


def _records(target: Name) -> _Records:
    return _Records(
        vips=tuple(wire.address_record(inet_aton(vip)) for vip in target.vips),
        tasks=tuple(wire.address_record(inet_aton(task)) for task in target.tasks),
    )


def _together(several: list[_Records]) -> _Records:
    """Services that share an alias share the answer."""
    return _Records(
        vips=tuple(vip for records in several for vip in records.vips), tasks=tuple(task for records in several for task in records.tasks)
    )


class Directory:
    """The zone, indexed for look-up. Made anew when the zone changes; it takes over what there was `before`, which is then of no use."""

    def __init__(self, zone: Zone, before: "Directory | None" = None) -> None:
        had = before.networks if before else {}
        self.networks: Mapping[Id, _Network] = {
            key: had[key] if key in had and had[key].zone is network else _Network(network, had.get(key))
            for key, network in zone.networks.items()
        }
        self._callers = {address: caller for caller in zone.callers for address in caller.addresses}
        self._by_gateway = {network.gateway: key for key, network in zone.networks.items() if network.gateway}

    @property
    def gateways(self) -> frozenset[str]:
        return frozenset(self._by_gateway)

    def caller(self, source: str, gateway: str) -> tuple[Caller, bool]:
        """Whoever asks from there. A stranger on a network of ours sees that one, by its tasks: its VIPs are not programmed by us."""
        known = self._callers.get(source)
        if known is not None:
            return known, True
        network = self._by_gateway.get(gateway)
        return Caller(addresses=(source,), networks=() if network is None else (network,)), False

    def decide(self, query: wire.Query, source: str, gateway: str, rng: Random) -> Decision:
        caller, known = self.caller(source, gateway)
        networks = [self.networks[key] for key in caller.networks if key in self.networks]
        for network in networks:
            found = network.find(query.name)
            if found is not None:
                return _answer(query, found, caller, use_vips=known, rng=rng)
        if not all(network.zone.told for network in networks):
            return Hold()
        if query.kind == wire.PTR and (decision := _pointer(query, networks)):
            return decision
        return Forward(upstreams=caller.upstreams) if caller.outbound else Answer(code=wire.NXDOMAIN)


def _answer(query: wire.Query, found: _Records, caller: Caller, *, use_vips: bool, rng: Random) -> Decision:
    records = found.vips if use_vips and found.vips else found.tasks
    if caller.held and found.vips:
        return Hold()
    if query.kind not in (wire.A, wire.ANY):
        return Answer()
    if len(records) < 2:
        return Answer(records=records)
    first = rng.randrange(len(records))
    return Answer(records=records[first:] + records[:first])


def _pointer(query: wire.Query, networks: list[_Network]) -> Answer | None:
    """An address of a network of ours has our name or none: nobody else knows it."""
    address = wire.reverse_address(query.name)
    if not address:
        return None
    for network in networks:
        if (record := network.pointer(address)) is not None:
            return Answer(records=(record,))
    inside = any(network.subnet is not None and IPv4Address(address) in network.subnet for network in networks)
    return Answer(code=wire.NXDOMAIN) if inside else None
