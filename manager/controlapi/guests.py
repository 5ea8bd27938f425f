"""Containers that join attachable networks by themselves. Pure.

A guest is kept in its network, which holds its address from then on; addresses are taken from the far end of the subnet, where tasks'
seldom come. A daemon that was away releases what its containers no longer hold.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from msgspec.structs import replace

from cluster.api.changes import Put
from cluster.api.commands import AttachGuest, DetachGuest
from cluster.api.endpoint import Guest
from cluster.api.errors import Conflict, FailedPrecondition, Forbidden, InvalidArgument, NotFound
from cluster.api.ids import Id
from cluster.api.objects import Network
from cluster.api.specs import IPAMConfig
from cluster.api.states import Kind
from manager.controlapi.admission import Admission
from manager.store.snapshot import Snapshot


def attach(now: Snapshot, command: AttachGuest) -> Admission:
    network = _network(now, command.network)
    if any(guest.id == command.id for guest in network.guests):
        return Admission(id=command.id)
    if not network.spec.attachable:
        raise Forbidden(
            f"Could not attach to network {network.spec.name}: rpc error: code = PermissionDenied desc = "
            f"network {network.spec.name} not manually attachable"
        )
    if not network.subnet:
        why = network.pending_reason or "it was not given one yet"
        raise FailedPrecondition(f"network {network.spec.name} has no subnet: {why}")
    address = _asked(now, network, command.address) if command.address else _free(now, network)
    guest = Guest(id=command.id, node_id=command.node_id, address=address, name=command.name, aliases=command.aliases)
    guests = tuple(sorted((*network.guests, guest), key=lambda one: one.id))
    return Admission(id=command.id, changes=(Put(object=replace(network, guests=guests), base=network.version),))


def is_unequipped(now: Snapshot, reference: str) -> bool:
    """The network was made a moment ago: the allocator has not come to it yet, and has nothing against it."""
    network = _find(now, reference)
    return network is not None and not (network.subnet or network.pending_reason or network.leaving)


def detach(now: Snapshot, command: DetachGuest) -> Admission:
    for network in now.networks.values():
        left = tuple(guest for guest in network.guests if (guest.id, guest.node_id) != (command.id, command.node_id))
        if left != network.guests:
            return Admission(id=command.id, changes=(Put(object=replace(network, guests=left), base=network.version),))
    return Admission(id=command.id)


def without_node(now: Snapshot, node_id: Id) -> Iterator[Put]:
    """Nobody will ever say that the guests of a node that is forgotten are gone."""
    for network in now.networks.values():
        left = tuple(guest for guest in network.guests if guest.node_id != node_id)
        if left != network.guests:
            yield Put(object=replace(network, guests=left), base=network.version)


def _find(now: Snapshot, reference: str) -> Network | None:
    network = now.networks.get(reference)
    if network is None and (found := now.named(Kind.NETWORK, reference)) is not None:
        return now.networks.get(found.id)
    return network


def _network(now: Snapshot, reference: str) -> Network:
    network = _find(now, reference)
    if network is None or network.leaving:
        raise NotFound(f"network {reference} not found")
    return network


def _asked(now: Snapshot, network: Network, address: str) -> str:
    subnet = IPv4Network(network.subnet)
    try:
        offset = int(IPv4Address(address)) - int(subnet.network_address)
    except ValueError:
        raise InvalidArgument(f"invalid address {address}: write it as 10.0.1.7") from None
    if not 0 < offset < subnet.num_addresses - 1:
        raise InvalidArgument(f"address {address} is not within network {network.spec.name} ({subnet})")
    if offset in now.addresses(network.id):
        raise Conflict(f"address {address} of network {network.spec.name} is in use")
    return address


def _free(now: Snapshot, network: Network) -> str:
    taken, subnet = now.addresses(network.id), IPv4Network(network.subnet)
    kept = _config(network).auxiliary_addresses.values()
    for offset in _usable(network, subnet):
        address = str(subnet.network_address + offset)
        if offset not in taken and address not in kept:
            return address
    raise FailedPrecondition(f"network {network.spec.name} ({subnet}) has no free address: all are in use")


def _usable(network: Network, subnet: IPv4Network) -> Iterator[int]:
    """The last first."""
    base, wished = int(subnet.network_address), _config(network).ip_range
    if wished:
        within = IPv4Network(wished, strict=False)
        first = int(within.network_address) - base
        return reversed(range(max(1, first), min(subnet.num_addresses - 1, first + within.num_addresses)))
    return reversed(range(1, subnet.num_addresses - 1))


def _config(network: Network) -> IPAMConfig:
    config = () if network.spec.ipam is None else network.spec.ipam.config
    return config[0] if config else IPAMConfig()
