"""The zone that this node's name server answers from. Pure."""

from collections.abc import Iterable, Mapping

from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from node_agent.network.dns.zone import Caller, NetworkZone, Zone
from node_agent.network.gathered import Gathered, OnNetwork
from node_agent.network.naming import GATEWAY_BRIDGE
from node_agent.network.view import Known, LocalTask


def zone_of(known: Known, gathered: Gathered, *, gateways: Mapping[Id, str], programmed: Iterable[Id]) -> Zone:
    """`gateways`: the networks whose bridge is here (the local gateway bridge by its name), and the bridge's address.
    `programmed`: the tasks whose VIP tables hold what `known` wants.
    """
    networks = known.networks
    zones = {
        key: _network_zone(networks[key], gathered.on(key), gateway, told=key in known.view.networks)
        for key, gateway in gateways.items()
        if key in networks
    }
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


def _network_zone(network: OverlayNetwork, there: OnNetwork, gateway: str, *, told: bool) -> NetworkZone:
    here = network.network_id
    return NetworkZone(network_id=here, name=network.name, subnet=network.subnet, gateway=gateway, services=there.called, told=told)
