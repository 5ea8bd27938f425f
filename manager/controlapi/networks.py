"""Networks: overlays, and the one for ingress. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from msgspec.structs import replace

from cluster.api.changes import Change, Put, Remember, Remove
from cluster.api.commands import CreateNetwork, RemoveNetwork
from cluster.api.endpoint import is_encrypted
from cluster.api.errors import Conflict, FailedPrecondition, Forbidden, InvalidArgument, NotFound, NotSupported
from cluster.api.objects import Network, Task
from cluster.api.specs import IPAMConfig, NetworkSpec
from cluster.api.states import Kind, TaskState
from manager.controlapi.admission import Admission
from manager.controlapi.references import ingress_network
from manager.controlapi.validate_names import check_labels, check_name
from manager.store.snapshot import Snapshot

_PREDEFINED = ("host", "bridge", "none", "default")


def create(now: Snapshot, command: CreateNetwork) -> Admission:
    spec = command.spec
    if spec.name in _PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {spec.name} network")
    _check_spec(spec)
    if now.named(Kind.NETWORK, spec.name) is not None:
        raise Conflict(f"network with name {spec.name} already exists")
    if spec.ingress and (present := ingress_network(now)) is not None:
        raise Conflict(f"ingress network ({present.id}) is already present")
    _check_overlaps(now, spec)
    return Admission(id=command.id, changes=(Put(object=Network(id=command.id, spec=spec)),), warnings=_warnings(spec))


def remove(now: Snapshot, command: RemoveNetwork) -> Admission:
    present = now.networks.get(command.id)
    if present is None or present.leaving:
        raise NotFound(f"network {command.id} not found")
    if users := sorted(service.spec.name for service in now.users_of(Kind.NETWORK, present.id).values()):
        raise FailedPrecondition(f"network {present.spec.name} is in use by service {', '.join(users)}")
    if present.spec.ingress and (publisher := _publisher(now)) is not None:
        raise FailedPrecondition(f"ingress network cannot be removed because service {publisher} depends on it")
    tasks = attached(now, present)
    # Tasks of a service that is gone are ending, whether they were told so yet or not.
    if staying := [task.id for task in tasks if task.desired_state <= TaskState.COMPLETE and task.service_id in now.services]:
        raise FailedPrecondition(f"network {present.spec.name} is in use by task {staying[0]}")
    if present.guests:
        raise FailedPrecondition(f"network {present.spec.name} is in use by container {present.guests[0].name or present.guests[0].id}")
    gone: Change = Remove(kind=Kind.NETWORK, id=present.id)
    if tasks:  # they are on their way out, and take it with them: until then their addresses and its subnet stay taken
        gone = Put(object=replace(present, leaving=True), base=present.version)
    changes = (gone, Remember(request_id=present.id, object_id=present.id))
    return Admission(id=present.id, changes=changes)


def _publisher(now: Snapshot) -> str | None:
    owners = sorted(now.services[owner].spec.name for owner in set(now.ports_taken.values()))
    return owners[0] if owners else None


def attached(now: Snapshot, network: Network) -> list[Task]:
    """The tasks that still have an address there, by id; the index says quickly when there is none."""
    if len(now.addresses(network.id)) <= bool(network.gateway):
        return []
    on_it = (task for task in now.tasks.values() if any(attachment.network_id == network.id for attachment in task.attachments))
    return sorted((task for task in on_it if not task.state.ended), key=lambda task: task.id)


# -- the spec --------------------------------------------------------------------------------------------------------------------------
def _check_spec(spec: NetworkSpec) -> None:
    check_name(spec.name)
    check_labels(spec.labels)
    if spec.driver not in ("", "overlay"):
        raise InvalidArgument(f"driver {spec.driver!r} is not supported for networks of the swarm: only overlay is")
    if spec.ingress and spec.attachable:
        raise InvalidArgument("ingress network cannot be attachable")
    if spec.ingress and spec.internal:
        raise InvalidArgument("ingress network cannot be internal")
    if spec.ingress and is_encrypted(spec.options):
        raise NotSupported(
            "the ingress network cannot be encrypted: leave the option 'encrypted' out. What must not be read between the nodes belongs "
            "on an encrypted overlay of its own"
        )
    if spec.enable_ipv4 is False:
        raise InvalidArgument("a network of the swarm needs IPv4")
    if spec.ipam is None:
        return
    if spec.ipam.driver not in ("", "default"):
        raise InvalidArgument(f"IPAM driver {spec.ipam.driver!r} is not supported: only default is")
    if len([config for config in spec.ipam.config if ":" not in config.subnet]) > 1:
        raise InvalidArgument("invalid IPAM configuration: a network has one IPv4 subnet")
    for config in spec.ipam.config:
        _check_ipam(config)


def _check_ipam(config: IPAMConfig) -> None:
    subnet = _parsed(config.subnet, "subnet") if config.subnet else None
    if subnet is None and (config.ip_range or config.gateway):
        raise InvalidArgument("invalid IPAM configuration: ip-range and gateway need a subnet")
    if subnet is None:
        return
    if isinstance(subnet, IPv4Network) and not 8 <= subnet.prefixlen <= 29:
        raise InvalidArgument(f"invalid subnet {config.subnet}: its prefix must be between /8 and /29")
    if config.ip_range and not _within(_parsed(config.ip_range, "ip-range"), subnet):
        raise InvalidArgument(f"invalid ip-range {config.ip_range}: it is not within subnet {config.subnet}")
    if config.gateway:
        try:
            gateway = ip_address(config.gateway.partition("/")[0])
        except ValueError:
            raise InvalidArgument(f"invalid gateway {config.gateway}: it is no address") from None
        if gateway not in subnet:
            raise InvalidArgument(f"invalid gateway {config.gateway}: it is not within subnet {config.subnet}")


def _parsed(text: str, what: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid {what} {text}: write it as 10.1.0.0/24") from None


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def subnets_of(spec: NetworkSpec) -> Sequence[IPv4Network]:
    """The IPv4 subnets that a spec asks for."""
    if spec.ipam is None:
        return ()
    parsed = [ip_network(config.subnet, strict=False) for config in spec.ipam.config if config.subnet]
    return [subnet for subnet in parsed if isinstance(subnet, IPv4Network)]


def _check_overlaps(now: Snapshot, spec: NetworkSpec) -> None:
    for subnet in subnets_of(spec):
        for network in now.networks.values():
            taken = [IPv4Network(network.subnet)] if network.subnet else subnets_of(network.spec)
            if any(subnet.overlaps(one) for one in taken):
                raise InvalidArgument(f"subnet {subnet} overlaps with network {network.spec.name} ({taken[0]})")


def _warnings(spec: NetworkSpec) -> tuple[str, ...]:
    v6 = spec.enable_ipv6 or any(":" in config.subnet for config in (spec.ipam.config if spec.ipam else ()))
    return (f"network {spec.name}: IPv6 is not provided; tasks get IPv4 addresses only",) if v6 else ()
