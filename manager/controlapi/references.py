"""What a service refers to: networks, secrets, configs, ports. Found in the snapshot, and expected still to be there on apply. Pure."""

from msgspec.structs import replace

from cluster.api.changes import Change, Expect, ExpectPorts
from cluster.api.errors import FailedPrecondition, InvalidArgument, NotFound
from cluster.api.ids import Id
from cluster.api.objects import Network
from cluster.api.specs import NetworkAttachmentConfig, PortConfig, ServiceSpec
from cluster.api.states import Kind
from manager.controlapi.validate_services import ports_of
from manager.store.snapshot import Snapshot

NODE_NETWORKS = ("host", "bridge")
"""Networks that every engine has; a service names them, no object stands for them."""


def resolved(now: Snapshot, spec: ServiceSpec) -> ServiceSpec:
    """The spec with its networks by id, whatever the request called them by."""
    networks = spec.task_template.networks
    if not networks:
        return spec
    found = tuple(_network(now, network) for network in networks)
    targets = [network.target for network in found]
    for network, target in zip(networks, targets, strict=True):
        if targets.count(target) > 1:
            raise InvalidArgument(f"network {network.target} is given more than once")
    return replace(spec, task_template=replace(spec.task_template, networks=found), networks=found if spec.networks else ())


def _network(now: Snapshot, wanted: NetworkAttachmentConfig) -> NetworkAttachmentConfig:
    if wanted.target in NODE_NETWORKS:
        return wanted
    network = now.networks.get(wanted.target) or now.named(Kind.NETWORK, wanted.target)
    if not isinstance(network, Network) or network.leaving:
        raise NotFound(f"network {wanted.target} not found")
    if now.networks[network.id].spec.ingress:
        raise InvalidArgument(f'Service cannot be explicitly attached to the ingress network "{network.spec.name}"')
    return replace(wanted, target=network.id)


def expected(now: Snapshot, service_id: Id, spec: ServiceSpec) -> tuple[Change, ...]:
    """What must hold when the service is put. Raises InvalidArgument if it does not hold even now."""
    template = spec.task_template
    changes: list[Change] = [
        Expect(kind=Kind.NETWORK, id=network.target) for network in template.networks if network.target not in NODE_NETWORKS
    ]
    if (container := template.container_spec) is not None:
        secrets = {one.secret_id: one.secret_name for one in container.secrets}
        configs = {one.config_id: one.config_name for one in container.configs}
        for kind, wanted in ((Kind.SECRET, secrets), (Kind.CONFIG, configs)):
            _check_existing(now, kind, wanted)
            changes += [Expect(kind=kind, id=object_id) for object_id in wanted]
    if any(port.publish_mode == "ingress" for port in ports_of(spec)):
        changes.append(Expect(kind=Kind.NETWORK, id=_needed_ingress(now)))
    if published := tuple(port for port in ports_of(spec) if port.published_port):
        for port in published:
            _check_free(now, service_id, port)
        changes.append(ExpectPorts(service_id=service_id, ports=published))
    return tuple(changes)


def ingress_network(now: Snapshot) -> Network | None:
    """There is one at most, and none after somebody removed it."""
    return next((network for network in now.networks.values() if network.spec.ingress), None)


def _needed_ingress(now: Snapshot) -> Id:
    found = ingress_network(now)
    if found is None:
        raise FailedPrecondition(
            "service needs ingress network, but no ingress network is present: create one with network create --driver overlay --ingress"
        )
    return found.id


def _check_existing(now: Snapshot, kind: Kind, wanted: dict[Id, str]) -> None:
    """Ids and names must belong together, so that a removed and recreated one is not taken for the old."""
    missing = []
    for object_id, name in wanted.items():
        table = now.secrets if kind is Kind.SECRET else now.configs
        found = table.get(object_id)
        if found is None or found.spec.name != name:
            missing.append(name)
    if missing:
        raise InvalidArgument(f"{kind}{'s' if len(missing) > 1 else ''} not found: {', '.join(missing)}")


def _check_free(now: Snapshot, service_id: Id, port: PortConfig) -> None:
    key = (port.protocol, port.published_port)
    against = ("ingress", "host") if port.publish_mode == "ingress" else ("ingress",)
    for mode in against:
        for owner in now.port_owners(mode, key):
            if owner != service_id:
                name = now.services[owner].spec.name
                words = "an ingress port" if mode == "ingress" else "a host-published port"
                raise InvalidArgument(f"port '{port.published_port}' is already in use by service '{name}' ({owner}) as {words}")
