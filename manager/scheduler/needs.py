"""What the tasks of one template ask of a node: read once a template, compared with many nodes. Pure."""

from msgspec import Struct

from cluster.api.constraints import Constraint, InvalidConstraint, parse_all
from cluster.api.objects import Template
from cluster.api.specs import Placement, Platform, PortConfig, Reservations, TaskSpec
from manager.store.usage import GPU, HostPort, gpus_of

PREDEFINED = ("host", "bridge", "none")
"""Networks of the engine itself, which every node has."""


class Standing(Struct, frozen=True, kw_only=True, gc=False):
    """What depends on the node alone, not on what runs there."""

    constraints: tuple[Constraint, ...] = ()
    platforms: tuple[Platform, ...] = ()
    plugins: tuple[tuple[str, str], ...] = ()
    """(type, name); only those that not every engine has."""
    overlay: bool = False
    """It is on a network of the cluster."""
    invalid: str = ""
    """A constraint that cannot be read: no node meets it."""


ANYWHERE = Standing()


class Needs(Struct, frozen=True, kw_only=True, gc=False):
    standing: Standing = ANYWHERE
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: tuple[tuple[str, int], ...] = ()
    host_ports: tuple[HostPort, ...] = ()
    max_replicas: int = 0
    preferences: tuple[str, ...] = ()
    """What to spread over, outermost first: `node.labels.zone`."""

    @property
    def reserves(self) -> bool:
        return bool(self.nano_cpus or self.memory_bytes or self.generic)

    @property
    def counted(self) -> bool:
        """Something of a node's room is used up by each task."""
        return bool(self.reserves or self.host_ports or self.max_replicas)


NOTHING = Needs()
NO_PLACEMENT = Placement()
NO_RESERVATIONS = Reservations()


def needs_of(template: Template) -> Needs:
    spec = template.spec
    placement = spec.placement or NO_PLACEMENT
    reserved = (spec.resources.reservations if spec.resources is not None else None) or NO_RESERVATIONS
    plain = placement == NO_PLACEMENT and reserved == NO_RESERVATIONS and spec.log_driver is None and not template.host_ports
    plain = plain and not template.device_requests and not spec.networks
    if plain and (spec.container_spec is None or not spec.container_spec.mounts):
        return NOTHING
    return Needs(
        standing=_standing(spec, placement),
        nano_cpus=reserved.nano_cpus,
        memory_bytes=reserved.memory_bytes,
        generic=_generic(reserved, gpus_of(template)),
        host_ports=tuple(_host_port(port) for port in template.host_ports if port.published_port),
        max_replicas=placement.max_replicas,
        preferences=tuple(one.spread.spread_descriptor for one in placement.preferences if one.spread is not None),
    )


def _standing(spec: TaskSpec, placement: Placement) -> Standing:
    plugins = _plugins(spec)
    overlay = any(network.target not in PREDEFINED for network in spec.networks)
    platforms = tuple(one for one in placement.platforms if one.architecture or one.os)
    if not placement.constraints and not platforms and not plugins and not overlay:
        return ANYWHERE
    try:
        return Standing(constraints=parse_all(placement.constraints), platforms=platforms, plugins=plugins, overlay=overlay)
    except InvalidConstraint as invalid:
        return Standing(platforms=platforms, plugins=plugins, overlay=overlay, invalid=str(invalid))


def _plugins(spec: TaskSpec) -> tuple[tuple[str, str], ...]:
    """Volume and log drivers that are named; `local` and the engine's own need nothing more."""
    found: dict[tuple[str, str], None] = {}
    for mount in () if spec.container_spec is None else spec.container_spec.mounts:
        driver = None if mount.volume_options is None else mount.volume_options.driver_config
        if mount.type == "volume" and driver is not None and driver.name not in ("", "local"):
            found[("Volume", driver.name)] = None
    if spec.log_driver is not None and spec.log_driver.name not in ("", "none"):
        found[("Log", spec.log_driver.name)] = None
    return tuple(found)


def _generic(reserved: Reservations, gpus: int) -> tuple[tuple[str, int], ...]:
    """A task asks for a number of a kind; which named ones it gets depends on its node."""
    sums: dict[str, int] = {GPU: gpus} if gpus else {}
    for resource in reserved.generic_resources:
        if (discrete := resource.discrete_resource_spec) is not None:
            sums[discrete.kind] = sums.get(discrete.kind, 0) + discrete.value
        if (named := resource.named_resource_spec) is not None:
            sums[named.kind] = sums.get(named.kind, 0) + 1
    return tuple(sorted(sums.items()))


def _host_port(port: PortConfig) -> HostPort:
    return (port.protocol or "tcp", port.published_port, port.host_ip)
