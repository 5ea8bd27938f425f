"""Whatever happened before, the indexes say what a reading of all tables says."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.objects import Attachment, Endpoint, Network, Secret, Service, Task, TaskStatus, VirtualIP
from cluster.api.specs import (
    ContainerSpec,
    Dependency,
    DiscreteResource,
    EndpointSpec,
    Extensions,
    GenericResource,
    NamedResource,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    Reservations,
    Resources,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Kind, TaskState
from manager.store.apply import apply, template_from
from manager.store.frames import Restoration, encode
from manager.store.indexes import Indexes, offset_of, references_of, slot_of
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from manager.store.tables import Map
from manager.store.usage import Usage

SERVICES = ("s1", "s2", "s3")
TASKS = tuple(f"t{number}" for number in range(8))
NODES = ("", "n1", "n2")
STATES = tuple(TaskState)


def some_ports(rng: Random) -> tuple[PortConfig, ...]:
    published = [rng.choice((0, 80, 443)) for _ in range(rng.randrange(3))]
    return tuple(PortConfig(protocol="tcp", published_port=port, publish_mode=rng.choice(("ingress", "host"))) for port in published)


def some_spec(rng: Random, name: str) -> ServiceSpec:
    generic = (
        GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=rng.randint(1, 2))),
        GenericResource(named_resource_spec=NamedResource(kind="disk", value=rng.choice("ab"))),
    )
    reservations = Reservations(nano_cpus=rng.randrange(3), generic_resources=generic[: rng.randrange(3)])
    secrets = rng.sample(("x1", "x2"), rng.randrange(3))
    return ServiceSpec(
        name=rng.choice((name, name.upper())),
        task_template=TaskSpec(
            container_spec=ContainerSpec(image="i", secrets=tuple(SecretReference(secret_id=one) for one in secrets)),
            resources=Resources(reservations=reservations),
            networks=(NetworkAttachmentConfig(target="net1"),)[: rng.randrange(2)],
        ),
        endpoint_spec=EndpointSpec(ports=some_ports(rng)),
    )


def some_service(rng: Random, now: Snapshot) -> Change:
    service_id = rng.choice(SERVICES)
    present = now.services.get(service_id)
    offset = rng.randint(2, 5)
    endpoint = Endpoint(
        ports=(PortConfig(protocol="tcp", published_port=30000 + offset, publish_mode="ingress"),),
        virtual_ips=(VirtualIP(network_id="net1", addr=f"10.0.1.{offset}/24"), VirtualIP(network_id="net2")),
    )
    service = Service(
        id=service_id,
        spec=some_spec(rng, service_id),
        previous_spec=None if present is None else present.spec,
        endpoint=rng.choice((None, endpoint)),
        extensions=Extensions(depends_on=tuple(Dependency(service=one) for one in rng.sample(("s1", "S2", "s9"), rng.randrange(3)))),
    )
    return Put(object=service, base=0 if present is None else present.version)


def some_task(rng: Random, now: Snapshot) -> Change:
    task_id, service_id = rng.choice(TASKS), rng.choice(SERVICES)
    before, service = now.tasks.get(task_id), now.services.get(service_id)
    task = Task(
        id=task_id,
        service_id=service_id,
        template_version=0 if service is None else service.template_version,
        slot=rng.randrange(3),
        node_id=rng.choice(NODES),
        status=TaskStatus(state=rng.choice(STATES)),
        desired_state=rng.choice((TaskState.RUNNING, TaskState.SHUTDOWN)),
        attachments=some_attachments(rng),
    )
    return Put(object=task, base=0 if before is None else before.version)


def some_step(rng: Random, now: Snapshot) -> Change:
    task_id = rng.choice(sorted(now.tasks) or ["none"])
    status = TaskStatus(state=rng.choice(STATES))
    return rng.choice(
        (
            TaskChange(id=task_id, status=status),
            TaskChange(id=task_id, node_id=rng.choice(NODES)),
            TaskChange(id=task_id, desired_state=TaskState.SHUTDOWN),
            TaskChange(id=task_id, attachments=some_attachments(rng)),
            TaskChange(id=task_id, resources=(NamedResource(kind="disk", value=rng.choice("ab")),)),
            TaskChange(id=task_id, status=status, node_id="n1", attachments=some_attachments(rng)),
        )
    )


def some_network(rng: Random, now: Snapshot) -> Change:
    present = now.networks.get("net1")
    network = Network(id="net1", spec=NetworkSpec(name="front"), subnet="10.0.1.0/24", gateway=rng.choice(("", "10.0.1.1")))
    return Put(object=network, base=0 if present is None else present.version)


def some_secret(rng: Random, now: Snapshot) -> Change:
    present = now.secrets.get("x1")
    return Put(object=Secret(id="x1", spec=SecretSpec(name=rng.choice("abA"))), base=0 if present is None else present.version)


def some_removal(rng: Random, now: Snapshot) -> Change:
    kind = rng.choice((Kind.SERVICE, Kind.TASK, Kind.NETWORK, Kind.SECRET))
    return Remove(kind=kind, id=rng.choice(sorted(now.table(kind)) or ["none"]))


def some_attachments(rng: Random) -> tuple[Attachment, ...]:
    return tuple(Attachment(network_id=f"net{one}", address=f"10.0.1.{rng.randint(2, 5)}/24") for one in range(1, rng.randint(1, 3)))


SOME = (
    some_service,
    some_service,
    some_task,
    some_task,
    some_task,
    some_step,
    some_step,
    some_step,
    some_step,
    some_network,
    some_secret,
    some_removal,
)


def some_change(seed: int, now: Snapshot) -> Change:
    rng = Random(seed)
    return rng.choice(SOME)(rng, now)


def lived(seeds: list[int]) -> Snapshot:
    """A snapshot with a past: each seed is one entry of one to three changes."""
    now = EMPTY_SNAPSHOT
    for index, seed in enumerate(seeds, start=1):
        entry = ChangeSet(at=index, changes=tuple(some_change(seed * 3 + part, now) for part in range(1 + seed % 3)))
        now, _ = apply(now, index, entry)
    return now


SEEDS = st.integers(0, 2**32)
histories = st.lists(SEEDS, min_size=15, max_size=80).map(lived)


def rebuilt(now: Snapshot) -> Indexes:
    """The indexes by the simplest reading of the tables."""
    tasks = list(now.tasks.values())
    return Indexes(
        names=Map(
            {(Kind.SERVICE, one.spec.name.lower()): one.id for one in now.services.values()}
            | {(Kind.NETWORK, one.spec.name.lower()): one.id for one in now.networks.values()}
            | {(Kind.SECRET, one.spec.name.lower()): one.id for one in now.secrets.values()}
        ),
        by_service=grouped((task.service_id, task.id) for task in tasks),
        by_node=grouped((task.node_id, task.id) for task in tasks if task.node_id),
        by_state=grouped((task.state, task.id) for task in tasks if not task.state.ended),
        by_slot=claimed((slot_of(task), task.id) for task in tasks),
        usage=used(now),
        addresses=addressed(now),
        on_network=placed(now),
        ingress_ports=claimed(published(now, "ingress")),
        host_ports=claimed(published(now, "host")),
        users=grouped((reference, one.id) for one in now.services.values() for reference in references_of(one.spec)),
        template_uses=counted((task.service_id, task.template_version) for task in tasks),
        dependents=claimed((other.service.lower(), one.id) for one in now.services.values() for other in one.extensions.depends_on),
    )


def grouped(pairs):
    found = {}
    for key, member in pairs:
        found.setdefault(key, {})[member] = True
    return Map({key: Map(group) for key, group in found.items()})


def claimed(pairs):
    found = {}
    for key, owner in pairs:
        found.setdefault(key, set()).add(owner)
    return Map({key: tuple(sorted(owners)) for key, owners in found.items()})


def counted(keys):
    found = {}
    for key in keys:
        found[key] = found.get(key, 0) + 1
    return Map(found)


def published(now: Snapshot, mode: str):
    for service in now.services.values():
        given = service.endpoint.ports if service.endpoint else ()
        for port in (*service.spec.endpoint_spec.ports, *given):
            if port.published_port and port.publish_mode == mode:
                yield ((port.protocol, port.published_port), service.id)


def addressed(now: Snapshot):
    held = [(vip.network_id, vip.addr) for one in now.services.values() if one.endpoint for vip in one.endpoint.virtual_ips if vip.addr]
    held += [(one.network_id, one.address) for task in now.tasks.values() if not task.state.ended for one in task.attachments]
    held += [(one.id, f"{one.gateway}/24") for one in now.networks.values() if one.gateway]
    found = {}
    for network_id, address in held:
        group = found.setdefault(network_id, {})
        group[offset_of(address)] = group.get(offset_of(address), 0) + 1
    return Map({network_id: Map(group) for network_id, group in found.items()})


def placed(now: Snapshot):
    found = {}
    for service in now.services.values():
        for network_id in {vip.network_id for vip in service.endpoint.virtual_ips} if service.endpoint else ():
            found.setdefault(network_id, []).append(service.id)
    for task in now.tasks.values():
        if not task.state.ended:
            for one in task.attachments:
                found.setdefault(one.network_id, []).append(task.service_id)
    return Map({network_id: counted(services) for network_id, services in found.items()})


def used(now: Snapshot):
    found = {}
    for node_id in {task.node_id for task in now.tasks.values() if task.node_id}:
        held = [task for task in now.tasks.values() if task.node_id == node_id and TaskState.ASSIGNED <= task.state <= TaskState.RUNNING]
        active = [task for task in held if task.desired_state <= TaskState.COMPLETE]
        reserved = [now.template_of(task).spec.resources.reservations for task in held]
        generic = [one for each in reserved for one in each.generic_resources]
        usage = Usage(
            nano_cpus=sum(one.nano_cpus for one in reserved),
            generic=counted(
                [
                    *("gpu" for one in generic if one.discrete_resource_spec for _ in range(one.discrete_resource_spec.value)),
                    *("disk" for one in generic if one.named_resource_spec),
                ]
            ),
            named_counts=counted((one.kind, one.value) for task in held for one in task.resources),
            port_counts=counted(
                (port.protocol, port.published_port, port.host_ip)
                for task in held
                for port in now.template_of(task).host_ports
                if port.published_port
            ),
            tasks=len(active),
            per_service=counted(task.service_id for task in active),
        )
        if usage != Usage():
            found[node_id] = usage
    return Map(found)


@given(histories)
@settings(deadline=None, max_examples=150)
def test_indexes_equal_a_rebuild_from_the_tables(now: Snapshot) -> None:
    assert now.indexes == rebuilt(now)


@given(histories)
@settings(deadline=None, max_examples=60)
def test_templates_are_kept_exactly_for_those_who_refer_to_them(now: Snapshot) -> None:
    needed = {(task.service_id, task.template_version) for task in now.tasks.values()}
    needed |= {(one.id, one.template_version) for one in now.services.values()}
    assert needed <= set(now.templates)
    for key in set(now.templates) - needed:
        previous = now.services[key[0]].previous_spec
        assert previous is not None
        assert now.templates[key] == template_from(previous)
    assert set(now.templates) == {(one, version) for one, kept in now.template_versions.items() for version in kept}


@given(histories)
@settings(deadline=None, max_examples=60)
def test_a_snapshot_survives_its_bytes(now: Snapshot) -> None:
    restoration = Restoration()
    for frame in encode(now):
        restoration.feed(frame)
    restored = restoration.finish()
    for kind in (Kind.SERVICE, Kind.TASK, Kind.NETWORK, Kind.SECRET):
        assert restored.table(kind) == now.table(kind)
    assert restored.indexes == now.indexes
    assert restored.templates == now.templates
    assert restored.template_versions == now.template_versions
    assert restored.version == now.version


@given(histories, SEEDS)
@settings(deadline=None, max_examples=60)
def test_a_refused_set_leaves_no_trace_but_the_version(now: Snapshot, seed: int) -> None:
    entry = ChangeSet(at=99, changes=(some_change(seed, now), Remove(kind=Kind.SECRET, id="nobody")))
    after, refusal = apply(now, now.version + 1, entry)
    assert refusal is not None
    assert after.version == now.version + 1
    assert after.indexes == now.indexes
    assert after.services == now.services
    assert after.tasks == now.tasks
