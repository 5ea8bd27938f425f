"""The plan by which a task's container is connected: the engine's networks it joins, its resolv.conf. Pure."""

from collections.abc import Mapping, Sequence

from cluster.api.assignment import AssignedTask
from cluster.api.ids import Id
from node_agent.network.naming import GATEWAY_BRIDGE, engine_network_of, mac_of
from worker.ports import EngineNetwork

PREDEFINED = ("host", "none", "bridge")
"""Networks of the engine itself: a task that names one is not connected by us."""


def predefined_network(task: AssignedTask) -> str:
    """The engine's own network that the task asks for, if any."""
    attached = {attachment.network_id for attachment in task.attachments}
    return next((network.target for network in task.spec.networks if network.target in PREDEFINED and network.target not in attached), "")


def engine_networks(addresses: Mapping[Id, str], *, uses_gateway: bool, internal: Mapping[Id, bool]) -> tuple[EngineNetwork, ...]:
    """The one that carries the default route first: the gateway bridge if it is used, else a network that leads out."""
    overlays = sorted(addresses.items(), key=lambda item: internal.get(item[0], False))
    joined = tuple(EngineNetwork(name=engine_network_of(key), address=address, mac=mac_of(address)) for key, address in overlays)
    gateway = (EngineNetwork(name=GATEWAY_BRIDGE),) if uses_gateway else ()
    return gateway + joined


def resolv_conf(nameservers: Sequence[str], *, search: Sequence[str], options: Sequence[str]) -> str:
    """Names are resolved as written before any search domain is tried, unless the spec says otherwise: as Docker has it."""
    lines = [f"nameserver {address}" for address in nameservers]
    lines += [f"search {' '.join(search)}"] if search else []
    chosen = list(options) if any(option.startswith("ndots:") for option in options) else [*options, "ndots:0"]
    return "\n".join([*lines, f"options {' '.join(chosen)}"]) + "\n"


def resolv_conf_of(task: AssignedTask, nameserver: str) -> str:
    """The resolv.conf of a task whose names are answered at this address."""
    spec = task.spec.container_spec
    dns = None if spec is None else spec.dns_config
    if dns is None:
        return resolv_conf([nameserver], search=(), options=())
    return resolv_conf([nameserver], search=dns.search, options=dns.options)
