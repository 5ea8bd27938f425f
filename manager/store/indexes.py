"""What every round of every loop needs to know at once, kept inside the snapshot by the pure `apply` and nowhere else.

An index holds ids (or counts), never objects, so a task's status changes only the table and the index by state. A property test
compares these, after any history, with what a reading of all tables gives.
"""

from ipaddress import ip_interface

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Config, Network, Secret, Service, Task, Template
from cluster.api.specs import PortConfig, ServiceSpec
from cluster.api.states import Kind, TaskState
from manager.store.tables import Claims, Counts, Groups, Map, TableDraft, moved
from manager.store.usage import Usage, UsageDraft, counts, holds

Slot = tuple[Id, int, Id]
"""(service, slot, ""), or (service, 0, node) for services with one task a node."""

PortKey = tuple[str, int]
"""(protocol, published port)"""

TemplateKey = tuple[Id, int]
"""(service, template version)"""

Reference = tuple[Kind, Id]


class Indexes(Struct, frozen=True, kw_only=True, gc=False):
    names: Map[tuple[Kind, str], Id] = Map()
    """Folded names of what must have unique ones."""
    by_service: Map[Id, Map[Id, bool]] = Map()
    by_node: Map[Id, Map[Id, bool]] = Map()
    by_slot: Map[Slot, tuple[Id, ...]] = Map()
    by_state: Map[TaskState, Map[Id, bool]] = Map()
    """Tasks that have not ended, by observed state."""
    usage: Map[Id, Usage] = Map()
    addresses: Map[Id, Map[int, int]] = Map()
    """network -> offset in its subnet -> how many hold it: one, unless somebody erred."""
    on_network: Map[Id, Map[Id, int]] = Map()
    """network -> services with a virtual IP or a task there, spec or not: a service that moves away is there until its last task is gone"""
    ingress_ports: Map[PortKey, tuple[Id, ...]] = Map()
    host_ports: Map[PortKey, tuple[Id, ...]] = Map()
    users: Map[Reference, Map[Id, bool]] = Map()
    """secret, config or network -> services whose spec refers to it"""
    dependents: Map[str, tuple[Id, ...]] = Map()
    """Folded name of a service -> the services that start only after it; it need not exist."""
    template_uses: Map[TemplateKey, int] = Map()
    """How many tasks are made from it."""


def fold(name: str) -> str:
    """Names that differ in case only are the same name, as in Swarm."""
    return name.lower()


def slot_of(task: Task) -> Slot:
    return (task.service_id, task.slot, "" if task.slot else task.node_id)


def offset_of(address: str) -> int:
    """Where an address, given with its prefix length, is in its subnet."""
    host, _, length = address.partition("/")
    if ":" in host:
        interface = ip_interface(address)
        return int(interface.ip) - int(interface.network.network_address)
    a, b, c, d = host.split(".")
    return (int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)) & ((1 << (32 - int(length or 32))) - 1)


def ports_of(spec: ServiceSpec) -> tuple[PortConfig, ...]:
    return () if spec.endpoint_spec is None else spec.endpoint_spec.ports


def references_of(spec: ServiceSpec) -> frozenset[Reference]:
    """Everything of the swarm that a service's spec names by id."""
    template = spec.task_template
    found = {(Kind.NETWORK, network.target) for network in (*template.networks, *spec.networks)}
    if (container := template.container_spec) is not None:
        found |= {(Kind.SECRET, secret.secret_id) for secret in container.secrets}
        found |= {(Kind.CONFIG, config.config_id) for config in container.configs}
    return frozenset(reference for reference in found if reference[1])


class IndexDraft:
    """The indexes while a change set is applied. Every method says what an object was and what it is now."""

    __slots__ = (
        "_addresses", "_by_node", "_by_service", "_by_slot", "_by_state", "_dependents", "_host_ports", "_ingress_ports", "_names",
        "_on_network", "_template_uses", "_usage", "_users",
    )  # fmt: skip

    def __init__(self, base: Indexes) -> None:
        self._names = TableDraft(base.names)
        self._by_service = Groups(base.by_service)
        self._by_node = Groups(base.by_node)
        self._by_slot = Claims(base.by_slot)
        self._by_state = Groups(base.by_state)
        self._usage = UsageDraft(base.usage)
        self._addresses = Counts(base.addresses)
        self._on_network = Counts(base.on_network)
        self._ingress_ports = Claims(base.ingress_ports)
        self._host_ports = Claims(base.host_ports)
        self._users = Groups(base.users)
        self._dependents = Claims(base.dependents)
        self._template_uses = TableDraft(base.template_uses)

    # -- names ---------------------------------------------------------------------------------------------------------------------
    def owner_of(self, kind: Kind, name: str) -> Id | None:
        return self._names.get((kind, fold(name)))

    def secret_changed(self, old: Secret | None, new: Secret | None) -> None:
        self._renamed(Kind.SECRET, old, new)

    def config_changed(self, old: Config | None, new: Config | None) -> None:
        self._renamed(Kind.CONFIG, old, new)

    def _renamed(
        self, kind: Kind, before: Service | Network | Secret | Config | None, after: Service | Network | Secret | Config | None
    ) -> None:
        old, new = _name_held(before), _name_held(after)
        if old == new:
            return
        if old is not None:
            self._names.drop((kind, fold(old)))
        if new is not None and after is not None:
            self._names.set((kind, fold(new)), after.id)

    # -- tasks ---------------------------------------------------------------------------------------------------------------------
    def task_added(self, task: Task, template: Template) -> None:
        self._by_service.set(task.service_id, task.id, True)
        self._by_slot.add(slot_of(task), task.id)
        if task.node_id:
            self._by_node.set(task.node_id, task.id, True)
        if not task.state.ended:
            self._by_state.set(task.state, task.id, True)
            self._take_addresses(task)
        self._usage.add(task, template)
        key = (task.service_id, task.template_version)
        self._template_uses.set(key, (self._template_uses.get(key) or 0) + 1)

    def task_removed(self, task: Task, template: Template) -> None:
        self._by_service.drop(task.service_id, task.id)
        self._by_slot.take(slot_of(task), task.id)
        if task.node_id:
            self._by_node.drop(task.node_id, task.id)
        if not task.state.ended:
            self._by_state.drop(task.state, task.id)
            self._free_addresses(task)
        self._usage.take(task, template)
        key = (task.service_id, task.template_version)
        if left := (self._template_uses.get(key) or 0) - 1:
            self._template_uses.set(key, left)
        else:
            self._template_uses.drop(key)

    def task_stepped(self, old: Task, new: Task, template: Template) -> None:
        """The common case: same service, slot and template; another state, node or address."""
        if old.node_id != new.node_id:
            self._node_given(old, new)
        if old.status.state is not new.status.state:
            if not old.state.ended:
                self._by_state.drop(old.state, old.id)
            if not new.state.ended:
                self._by_state.set(new.state, new.id, True)
        if (old.attachments or new.attachments) and (old.attachments != new.attachments or old.state.ended is not new.state.ended):
            self._free_addresses(old)
            self._take_addresses(new)
        if old.node_id != new.node_id or old.resources != new.resources or holds(old) is not holds(new) or counts(old) is not counts(new):
            self._usage.take(old, template)
            self._usage.add(new, template)

    def _node_given(self, old: Task, new: Task) -> None:
        if old.node_id:
            self._by_node.drop(old.node_id, old.id)
        if new.node_id:
            self._by_node.set(new.node_id, new.id, True)
        if slot_of(old) != slot_of(new):
            self._by_slot.take(slot_of(old), old.id)
            self._by_slot.add(slot_of(new), new.id)

    def _take_addresses(self, task: Task) -> None:
        """An ended task keeps its attachments for the record, not the addresses."""
        if not task.state.ended:
            for attachment in task.attachments:
                self._on_network.add(attachment.network_id, task.service_id)
                if attachment.address:
                    self._addresses.add(attachment.network_id, offset_of(attachment.address))

    def _free_addresses(self, task: Task) -> None:
        if not task.state.ended:
            for attachment in task.attachments:
                self._on_network.take(attachment.network_id, task.service_id)
                if attachment.address:
                    self._addresses.take(attachment.network_id, offset_of(attachment.address))

    def template_uses(self, key: TemplateKey) -> int:
        return self._template_uses.get(key) or 0

    # -- services and networks -----------------------------------------------------------------------------------------------------
    def service_changed(self, old: Service | None, new: Service | None) -> None:
        """`old` and `new` are the same service; None says that it was not there or is no more."""
        service = new if new is not None else old
        if service is None:
            return
        self._renamed(Kind.SERVICE, old, new)
        moved(
            _references(old), _references(new),
            take=lambda ref: self._users.drop(ref, service.id), add=lambda ref: self._users.set(ref, service.id, True),
        )  # fmt: skip
        moved(
            _dependencies(old), _dependencies(new),
            take=lambda name: self._dependents.take(name, service.id), add=lambda name: self._dependents.add(name, service.id),
        )  # fmt: skip
        self._claimed(self._ingress_ports, service.id, port_claims(old, "ingress"), port_claims(new, "ingress"))
        self._claimed(self._host_ports, service.id, port_claims(old, "host"), port_claims(new, "host"))
        moved(
            _places(old), _places(new),
            take=lambda network_id: self._on_network.take(network_id, service.id),
            add=lambda network_id: self._on_network.add(network_id, service.id),
        )  # fmt: skip
        moved(
            _vips(old), _vips(new),
            take=lambda vip: self._addresses.take(*vip), add=lambda vip: self._addresses.add(*vip),
        )  # fmt: skip

    @staticmethod
    def _claimed(claims: Claims[PortKey], owner: Id, old: frozenset[PortKey], new: frozenset[PortKey]) -> None:
        moved(old, new, take=lambda key: claims.take(key, owner), add=lambda key: claims.add(key, owner))

    def port_owners(self, mode: str, key: PortKey) -> tuple[Id, ...]:
        claims = self._ingress_ports if mode == "ingress" else self._host_ports
        return claims.get(key)

    def has_users(self, reference: Reference) -> bool:
        return self._users.has(reference)

    def network_changed(self, old: Network | None, new: Network | None) -> None:
        network = new if new is not None else old
        if network is None:
            return
        self._renamed(Kind.NETWORK, old, new)
        before, after = _gateway(old), _gateway(new)
        if before != after:
            if before is not None:
                self._addresses.take(network.id, before)
            if after is not None:
                self._addresses.add(network.id, after)
        moved(
            _guests(old), _guests(new),
            take=lambda offset: self._addresses.take(network.id, offset), add=lambda offset: self._addresses.add(network.id, offset),
        )  # fmt: skip

    def finish(self) -> Indexes:
        return Indexes(
            names=self._names.finish(),
            by_service=self._by_service.finish(),
            by_node=self._by_node.finish(),
            by_slot=self._by_slot.finish(),
            by_state=self._by_state.finish(),
            usage=self._usage.finish(),
            addresses=self._addresses.finish(),
            on_network=self._on_network.finish(),
            ingress_ports=self._ingress_ports.finish(),
            host_ports=self._host_ports.finish(),
            users=self._users.finish(),
            dependents=self._dependents.finish(),
            template_uses=self._template_uses.finish(),
        )


def _references(service: Service | None) -> frozenset[Reference]:
    return frozenset() if service is None else references_of(service.spec)


def _dependencies(service: Service | None) -> frozenset[str]:
    return frozenset() if service is None else frozenset(fold(one.service) for one in service.extensions.depends_on)


def port_claims(service: Service | None, mode: str) -> frozenset[PortKey]:
    """The published ports that a service asks for or was given, in one publish mode."""
    if service is None:
        return frozenset()
    given = () if service.endpoint is None else service.endpoint.ports
    return frozenset(
        (port.protocol or "tcp", port.published_port)
        for port in (*ports_of(service.spec), *given)
        if port.published_port and (port.publish_mode or "ingress") == mode
    )


def _vips(service: Service | None) -> frozenset[tuple[Id, int]]:
    if service is None or service.endpoint is None:
        return frozenset()
    return frozenset((vip.network_id, offset_of(vip.addr)) for vip in service.endpoint.virtual_ips if vip.addr)


def _places(service: Service | None) -> frozenset[Id]:
    if service is None or service.endpoint is None:
        return frozenset()
    return frozenset(vip.network_id for vip in service.endpoint.virtual_ips)


def _gateway(network: Network | None) -> int | None:
    if network is None or not network.gateway:
        return None
    return offset_of(network.gateway if "/" in network.gateway else f"{network.gateway}/{network.subnet.partition('/')[2] or 32}")


def _guests(network: Network | None) -> frozenset[int]:
    """The offsets that its guests hold."""
    if network is None:
        return frozenset()
    length = network.subnet.partition("/")[2]
    return frozenset(offset_of(f"{guest.address}/{length}") for guest in network.guests)


def _name_held(item: Service | Network | Secret | Config | None) -> str | None:
    """The name that nobody else may have; a network on its way out has given its own back."""
    return None if item is None or (isinstance(item, Network) and item.leaving) else item.spec.name
