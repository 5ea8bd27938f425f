"""The zone that this node's name server answers from. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from cluster.api.endpoint import OverlayNetwork, ServiceEndpoint, ServiceNetwork
from cluster.api.ids import Id
from node_agent.network.desired import ready_backends
from node_agent.network.dns.zone import Caller, Name, NetworkZone, Zone
from node_agent.network.naming import GATEWAY_BRIDGE
from node_agent.network.view import Known, LocalTask


def zone_of(known: Known, *, gateways: Mapping[Id, str], programmed: Iterable[Id]) -> Zone:
    """`gateways`: the networks whose bridge is here (the local gateway bridge by its name), and the bridge's address.
    `programmed`: the tasks whose VIP tables hold what `known` wants.
    """
    networks = known.networks
    zones = {key: _network_zone(networks[key], known, gateway) for key, gateway in gateways.items() if key in networks}
    if GATEWAY_BRIDGE in gateways:
        zones[GATEWAY_BRIDGE] = NetworkZone(network_id=GATEWAY_BRIDGE, name="", gateway=gateways[GATEWAY_BRIDGE])
    ready = frozenset(programmed)
    return Zone(networks=zones, callers=tuple(_caller(task, networks, held=task.task_id not in ready) for task in known.tasks.values()))


def _caller(task: LocalTask, networks: Mapping[Id, OverlayNetwork], *, held: bool) -> Caller:
    here = [key for key in task.addresses if key in networks]
    return Caller(
        addresses=tuple(filter(None, (*task.addresses.values(), task.gateway_address))),
        networks=tuple(here),
        held=held and bool(here),
        outbound=task.uses_gateway or any(not networks[key].internal for key in here),
        upstreams=task.upstreams,
    )


def _network_zone(network: OverlayNetwork, known: Known, gateway: str) -> NetworkZone:
    there = [
        (service, membership)
        for service in sorted(known.view.services.values(), key=lambda service: service.service_id)
        for membership in service.networks
        if membership.network_id == network.network_id
    ]
    names: dict[str, Name] = {}
    pointers: dict[str, str] = {}
    for service, membership in there:
        for name, target in _names(service, membership, known):
            _add(names, name, target)
        pointers.update((address, f"{name}.{network.name}") for address, name in _pointers(service, membership))
    return NetworkZone(
        network_id=network.network_id, name=network.name, subnet=network.subnet, gateway=gateway, names=names, pointers=pointers
    )


def _names(service: ServiceEndpoint, membership: ServiceNetwork, known: Known) -> Iterator[tuple[str, Name]]:
    ready = tuple(filter(None, (backend.addresses.get(membership.network_id, "") for backend in ready_backends(service, known))))
    vips = (membership.vip,) if membership.vip and not service.dnsrr else ()
    for name in dict.fromkeys((service.name, *membership.aliases)):
        yield name, Name(vips=vips, tasks=ready)
        yield f"tasks.{name}", Name(tasks=ready)
    for backend in service.backends:
        if backend.container_name and (address := backend.addresses.get(membership.network_id, "")):
            yield backend.container_name, Name(tasks=(address,))


def _pointers(service: ServiceEndpoint, membership: ServiceNetwork) -> Iterator[tuple[str, str]]:
    if membership.vip:
        yield membership.vip, service.name
    for backend in service.backends:
        if backend.container_name and (address := backend.addresses.get(membership.network_id, "")):
            yield address, backend.container_name


def _add(names: dict[str, Name], name: str, more: Name) -> None:
    """Services that share an alias share the answer."""
    key = name.lower()
    there = names.get(key)
    names[key] = more if there is None else Name(vips=(*there.vips, *more.vips), tasks=(*there.tasks, *more.tasks))
