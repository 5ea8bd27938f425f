"""What a service is reached at: a virtual address on each of its networks, its published ports. Pure.

Given anew when the spec asks for something else; what stays asked for stays given.
"""

from cluster.api.objects import Endpoint, Service, VirtualIP
from cluster.api.specs import EndpointSpec
from manager.allocator.desk import Desk, attached
from manager.allocator.ports import NoPort, ingress

DNSRR = "dnsrr"


class Lacking(Exception):
    """The service cannot have what it asks for; the text says why."""


def wants_nothing(service: Service) -> bool:
    """Neither networks nor ingress ports, now or before: such a service needs no endpoint."""
    spec = service.spec
    ports = ingress(() if spec.endpoint_spec is None else spec.endpoint_spec.ports)
    return service.endpoint is None and not ports and not attached(spec.task_template, spec.networks)


def endpoint_of(service: Service, desk: Desk) -> Endpoint:
    """The endpoint that the service should have; equal to the one it has when nothing is missing. Raises Lacking."""
    spec = service.spec.endpoint_spec or EndpointSpec()
    held = service.endpoint or Endpoint()
    try:
        ports = desk.ports.ports_for(service, spec.ports)
    except NoPort as no_port:
        raise Lacking(str(no_port)) from no_port
    addresses = []
    for network in attached(service.spec.task_template, service.spec.networks):
        addr = "" if spec.mode == DNSRR else _vip(network.target, held, desk)
        addresses.append(VirtualIP(network_id=network.target, addr=addr))
    return Endpoint(spec=spec, ports=ports, virtual_ips=tuple(addresses))


def _vip(network_id: str, held: Endpoint, desk: Desk) -> str:
    pool = desk.pool(network_id)
    if pool is None:
        raise Lacking(unready(network_id, desk))
    for vip in held.virtual_ips:
        if vip.network_id == network_id and vip.addr and pool.holds(vip.addr):
            return vip.addr
    addr = pool.take()
    if addr is None:
        raise Lacking(pool.exhausted)
    return addr


def unready(network_id: str, desk: Desk) -> str:
    """Why a network has no addresses to give."""
    network = desk.network(network_id)
    if network is None:
        return f"network {network_id} does not exist"
    return f"network {network.spec.name} has no subnet: {network.pending_reason or 'it was not given one yet'}"
