"""Placing: filters that explain themselves, preferences, even spread, and nothing given twice."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, TaskChange
from cluster.api.objects import EngineDescription, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus, Template
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    DiscreteResource,
    DriverConfig,
    EndpointSpec,
    GenericResource,
    LogDriver,
    Mount,
    NamedResource,
    NetworkAttachmentConfig,
    NodeSpec,
    Placement,
    PlacementPreference,
    Platform,
    PortConfig,
    Reservations,
    Resources,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
    VolumeOptions,
)
from cluster.api.states import Availability, NodeState, Role, TaskState
from manager.scheduler.explain import refusals
from manager.scheduler.needs import NOTHING, needs_of
from manager.scheduler.plan import Placed, plan
from manager.scheduler.roster import Roster
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

GIB = 1 << 30


def after(*changes: Change, now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def carried_out(now: Snapshot, placed: Placed) -> Snapshot:
    return after(*placed.changes, now=now) if placed.changes else now


def node(
    node_id: str,
    *,
    state: NodeState = NodeState.READY,
    availability: Availability = Availability.ACTIVE,
    role: Role = Role.WORKER,
    cpus: int = 4,
    memory: int = 8 * GIB,
    generic: tuple[GenericResource, ...] = (),
    platform: Platform = Platform(os="linux", architecture="x86_64"),  # noqa: B008 - a frozen value
    engine_labels: dict[str, str] | None = None,
    plugins: tuple[dict[str, str], ...] = (),
    addr: str = "",
    **labels: str,
) -> Put:
    description = NodeDescription(
        hostname=f"host-{node_id}",
        platform=platform,
        resources=Reservations(nano_cpus=cpus * SECOND, memory_bytes=memory, generic_resources=generic),
        engine=EngineDescription(labels=engine_labels or {}, plugins=plugins),
    )
    spec = NodeSpec(labels=labels, availability=availability, role=role)
    return Put(object=Node(id=node_id, spec=spec, description=description, status=NodeStatus(state=state, addr=addr)))


def service(
    service_id: str = "s1",
    *,
    constraints: tuple[str, ...] = (),
    preferences: tuple[str, ...] = (),
    max_replicas: int = 0,
    platforms: tuple[Platform, ...] = (),
    cpus: float = 0,
    memory: int = 0,
    gpus: int = 0,
    ports: tuple[PortConfig, ...] = (),
    log_driver: str = "",
    volume_driver: str = "",
    networks: tuple[str, ...] = (),
) -> Put:
    generic = (GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=gpus)),) if gpus else ()
    reserved = Reservations(nano_cpus=int(cpus * SECOND), memory_bytes=memory, generic_resources=generic)
    mount = Mount(type="volume", source="v", volume_options=VolumeOptions(driver_config=DriverConfig(name=volume_driver)))
    template = TaskSpec(
        container_spec=ContainerSpec(image="x", mounts=(mount,) if volume_driver else ()),
        log_driver=LogDriver(name=log_driver) if log_driver else None,
        networks=tuple(NetworkAttachmentConfig(target=name) for name in networks),
        resources=Resources(reservations=reserved) if reserved != Reservations() else None,
        placement=Placement(
            constraints=constraints,
            preferences=tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=one)) for one in preferences),
            max_replicas=max_replicas,
            platforms=platforms,
        ),
    )
    return Put(
        object=Service(id=service_id, spec=ServiceSpec(name=service_id, task_template=template, endpoint_spec=EndpointSpec(ports=ports)))
    )


def waiting(now: Snapshot, count: int, service_id: str = "s1", *, node_id: str = "") -> Snapshot:
    """More tasks of the service, equipped and waiting for a place."""
    have = len(now.tasks_of(service_id))
    made = [
        Task(
            id=f"{service_id}-{number:05}",
            service_id=service_id,
            template_version=now.services[service_id].template_version,
            slot=0 if node_id else number,
            node_id=node_id,
            status=TaskStatus(state=TaskState.PENDING),
        )
        for number in range(have + 1, have + count + 1)
    ]
    return after(*(Put(object=one) for one in made), now=now)


def placed(now: Snapshot, **fields: object) -> Snapshot:
    return carried_out(now, plan(now, **fields))


def places(now: Snapshot, service_id: str = "s1") -> dict[str, int]:
    return dict(Counter(task.node_id for task in now.tasks_of(service_id).values() if task.node_id))


def why(now: Snapshot, service_id: str = "s1") -> str:
    """What the tasks that found no node say."""
    (text,) = {task.status.err for task in now.tasks_of(service_id).values() if task.state is TaskState.PENDING}
    return text


# -- spreading ---------------------------------------------------------------------------------------------------------------------------
def test_tasks_of_a_service_are_spread_evenly() -> None:
    now = placed(waiting(after(node("a"), node("b"), node("c"), service()), 8))
    assert sorted(places(now).values()) == [2, 3, 3]
    task = now.tasks["s1-00001"]
    assert (task.state, task.status.message, task.status.err) == (TaskState.ASSIGNED, "scheduler assigned task to node", "")


def test_among_nodes_with_as_many_of_the_service_the_emptier_is_taken() -> None:
    now = placed(waiting(after(node("a"), node("b"), service("s1"), service("s2", constraints=("node.id==a",))), 4, "s2"))
    now = placed(waiting(now, 1))
    assert places(now) == {"b": 1}
    now = placed(waiting(now, 1))
    assert places(now) == {"a": 1, "b": 1}


def test_a_replacement_goes_where_the_service_has_fewest() -> None:
    now = placed(waiting(after(node("a"), node("b"), node("c"), service()), 6))
    gone = min(task.id for task in now.tasks.values() if task.node_id == "b")
    now = after(TaskChange(id=gone, desired_state=TaskState.SHUTDOWN), now=now)
    now = placed(waiting(now, 1))
    assert max(now.tasks_of("s1").values(), key=lambda task: task.id).node_id == "b"


def test_many_services_of_one_task_fill_the_nodes_evenly() -> None:
    now = after(*(node(f"n{number}") for number in range(5)), *(service(f"s{number}") for number in range(20)))
    for number in range(20):
        now = waiting(now, 1, f"s{number}")
    now = placed(now)
    assert {now.usage(node_id).tasks for node_id in now.nodes} == {4}


def test_a_preference_spreads_over_its_values_before_nodes() -> None:
    nodes = [node("a1", zone="a"), node("a2", zone="a"), node("a3", zone="a"), node("b1", zone="b")]
    now = placed(waiting(after(*nodes, service(preferences=("node.labels.zone",))), 8))
    assert places(now)["b1"] == 4
    assert sorted(places(now).values()) == [1, 1, 2, 4]


def test_nested_preferences_spread_level_by_level() -> None:
    nodes = [node("a1", zone="a", rack="1"), node("a2", zone="a", rack="2"), node("a3", zone="a", rack="2"), node("b1", zone="b", rack="1")]
    now = placed(waiting(after(*nodes, service(preferences=("node.labels.zone", "node.labels.rack"))), 8))
    assert places(now) == {"a1": 2, "a2": 1, "a3": 1, "b1": 4}


def test_nodes_without_the_attribute_are_a_part_of_their_own() -> None:
    nodes = [node("a1", zone="a"), node("x1"), node("x2")]
    now = placed(waiting(after(*nodes, service(preferences=("node.labels.zone",))), 4))
    assert places(now) == {"a1": 2, "x1": 1, "x2": 1}


def test_a_part_that_is_full_leaves_the_rest_to_the_others() -> None:
    nodes = [node("a1", zone="a", cpus=1), node("b1", zone="b", cpus=8)]
    now = placed(waiting(after(*nodes, service(preferences=("node.labels.zone",), cpus=1)), 6))
    assert places(now) == {"a1": 1, "b1": 5}


def test_a_node_where_the_service_keeps_failing_comes_last() -> None:
    now = waiting(after(node("a"), node("b"), service()), 2)
    template = now.services["s1"].template_version
    now = placed(now, faults={("s1", template): {"a": 5}})
    assert places(now) == {"b": 2}
    now = placed(waiting(now, 1), faults={("s1", template): {"a": 4}})
    assert places(now) == {"a": 1, "b": 2}


def test_where_it_fails_everywhere_the_node_with_the_fewest_failures_is_next() -> None:
    now = waiting(after(node("a"), node("b"), node("c"), service()), 1)
    template = now.services["s1"].template_version
    assert places(placed(now, faults={("s1", template): {"a": 15, "b": 10, "c": 10}})) == {"b": 1}
    assert places(placed(now, faults={("s1", template + 1): {"a": 15}})) == {"a": 1}, "another template's failures do not count"


# -- filters, and what they say ------------------------------------------------------------------------------------------------------------
def test_only_ready_and_active_nodes_take_tasks() -> None:
    nodes = [
        node("down", state=NodeState.DOWN),
        node("new", state=NodeState.UNKNOWN),
        node("drained", availability=Availability.DRAIN),
        node("paused", availability=Availability.PAUSE),
    ]
    now = placed(waiting(after(*nodes, service()), 1))
    assert why(now) == "no suitable node (4 nodes not available for new tasks)"
    assert now.tasks["s1-00001"].status.message == "pending task scheduling"
    now = placed(after(node("good"), now=now))
    assert places(now) == {"good": 1}
    assert now.tasks["s1-00001"].status.err == ""


def test_without_nodes_it_just_says_so() -> None:
    assert why(placed(waiting(after(service()), 1))) == "no suitable node"


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("node.id==a", "a"),
        ("node.id!=a", "b"),
        ("node.hostname == host-b", "b"),
        ("node.role==manager", "a"),
        ("node.role!=manager", "b"),
        ("node.platform.os==Linux", "a"),
        ("node.platform.arch==aarch64", "b"),
        ("node.platform.arch==amd64", "a"),
        ("node.labels.disk==SSD", "a"),
        ("node.labels.disk!=ssd", "b"),
        ("engine.labels.gpu==yes", "b"),
        ("node.ip==10.1.0.0/16", "b"),
        ("node.ip!=10.1.2.3", "a"),
    ],
)
def test_constraints_choose_nodes(constraint: str, expected: str) -> None:
    one = node("a", role=Role.MANAGER, disk="ssd", addr="10.0.0.1")
    other = node("b", platform=Platform(os="windows", architecture="arm64"), engine_labels={"gpu": "yes"}, addr="10.1.2.3")
    now = placed(waiting(after(one, other, service(constraints=(constraint,))), 1))
    assert places(now) == {expected: 1}


def test_every_filter_explains_itself_the_one_that_refused_most_first() -> None:
    nodes = [
        node("a", disk="hdd"), node("b", disk="hdd"), node("c", disk="hdd"),
        node("d", disk="ssd", cpus=1), node("e", disk="ssd", cpus=1), node("f", state=NodeState.DOWN),
    ]  # fmt: skip
    now = placed(waiting(after(*nodes, service(constraints=("node.labels.disk==ssd",), cpus=2)), 1))
    expected = "scheduling constraints not satisfied on 3 nodes; insufficient resources on 2 nodes; 1 node not available for new tasks"
    assert why(now) == f"no suitable node ({expected})"


def test_reservations_are_counted_and_never_overdrawn() -> None:
    now = placed(waiting(after(node("a", memory=4 * GIB), node("b", memory=3 * GIB), service(memory=GIB)), 9))
    assert places(now) == {"a": 4, "b": 3}
    assert why(now) == "no suitable node (insufficient resources on 2 nodes)"


def test_room_is_there_again_when_a_task_has_ended() -> None:
    now = placed(waiting(after(node("a", memory=GIB), service(memory=GIB)), 2))
    held = next(task.id for task in now.tasks.values() if task.node_id)
    now = placed(after(TaskChange(id=held, desired_state=TaskState.SHUTDOWN), now=now))
    assert places(now) == {"a": 1}
    now = placed(after(TaskChange(id=held, status=TaskStatus(state=TaskState.SHUTDOWN)), now=now))
    assert places(now) == {"a": 2}


def test_a_node_whose_memory_shrank_still_takes_tasks_that_reserve_none() -> None:
    now = placed(waiting(after(node("a", memory=GIB), service("s1", memory=GIB), service("s2")), 1))
    shrunk = node("a", memory=GIB // 2).object
    now = after(Put(object=shrunk, base=now.nodes["a"].version), now=now)
    now = placed(waiting(now, 1, "s2"))
    assert places(now, "s2") == {"a": 1}


def test_empty_members_of_a_request_cost_nothing() -> None:
    asked = TaskSpec(container_spec=ContainerSpec(image="x"), placement=Placement(), resources=Resources(reservations=Reservations()))
    assert needs_of(Template(spec=asked)) is NOTHING


def test_generic_resources_are_counted_whether_named_or_not() -> None:
    discrete = (GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=2)),)
    named = tuple(GenericResource(named_resource_spec=NamedResource(kind="gpu", value=f"uuid{n}")) for n in range(3))
    now = placed(waiting(after(node("a", generic=discrete), node("b", generic=named), node("c"), service(gpus=1)), 9))
    assert places(now) == {"a": 2, "b": 3}
    assert why(now) == "no suitable node (insufficient resources on 3 nodes)"


def test_a_host_port_is_given_once_a_node() -> None:
    port = PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="host")
    now = placed(waiting(after(node("a"), node("b"), service("s1", ports=(port,)), service("s2", ports=(port,))), 2))
    assert places(now) == {"a": 1, "b": 1}
    now = placed(waiting(now, 1, "s2"))
    assert why(now, "s2") == "no suitable node (host-mode port already in use on 2 nodes)"


def test_a_host_port_on_one_address_meets_the_same_on_all_but_not_on_another() -> None:
    def on(address: str) -> PortConfig:
        return PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="host", host_ip=address)

    services = (service("s1", ports=(on("10.0.0.1"),)), service("s2", ports=(on("10.0.0.2"),)), service("s3", ports=(on(""),)))
    now = after(node("a"), *services)
    for name in ("s1", "s2", "s3"):
        now = placed(waiting(now, 1, name))
    assert (places(now, "s1"), places(now, "s2"), places(now, "s3")) == ({"a": 1}, {"a": 1}, {})


def test_max_replicas_per_node_hold_on_every_node() -> None:
    now = placed(waiting(after(node("a"), node("b"), service(max_replicas=2)), 6))
    assert places(now) == {"a": 2, "b": 2}
    assert why(now) == "no suitable node (max replicas per node limit exceed)"


def test_the_platform_must_be_one_of_the_images() -> None:
    arm = node("arm", platform=Platform(os="linux", architecture="aarch64"))
    now = placed(waiting(after(node("amd"), arm, service(platforms=(Platform(os="linux", architecture="arm64"),))), 1))
    assert places(now) == {"arm": 1}
    now = placed(waiting(after(service("s2", platforms=(Platform(os="windows", architecture="amd64"),)), now=now), 1, "s2"))
    assert why(now, "s2") == "no suitable node (unsupported platform on 2 nodes)"


def test_a_node_needs_the_plugins_that_a_task_names() -> None:
    local = ({"Type": "Volume", "Name": "local"}, {"Type": "Log", "Name": "json-file"})
    rich = (*local, {"Type": "Volume", "Name": "nfs:latest"}, {"Type": "Log", "Name": "gelf"})
    now = after(node("a", plugins=local), node("b", plugins=rich), service("s1", volume_driver="nfs"), service("s2", log_driver="gelf"))
    now = placed(waiting(waiting(now, 1, "s1"), 1, "s2"))
    assert (places(now, "s1"), places(now, "s2")) == ({"b": 1}, {"b": 1})
    now = placed(waiting(after(service("s3", volume_driver="ceph"), now=now), 1, "s3"))
    assert why(now, "s3") == "no suitable node (missing plugin on 2 nodes)"


def test_a_task_on_an_overlay_needs_a_node_whose_kernel_balances_and_others_do_not() -> None:
    user = replace(node("a").object, description=NodeDescription(hostname="host-a", linked=False))
    now = after(Put(object=user), node("b"), service("s1", networks=("front",)), service("s2", networks=("host",)), service("s3"))
    now = placed(waiting(waiting(waiting(now, 2, "s1"), 2, "s2"), 2, "s3"))
    assert places(now, "s1") == {"b": 2}
    assert places(now, "s2").keys() | places(now, "s3").keys() == {"a", "b"}
    alone = placed(waiting(after(Put(object=user), service("s1", networks=("front",))), 1))
    assert why(alone) == "no suitable node (no overlay networks on 1 node)"
    (refusal,) = refusals(alone, alone.tasks["s1-00001"])
    assert refusal.texts == ("network: needs overlay networks; host-a balances in userspace and has none",)


def test_a_constraint_that_cannot_be_read_suits_no_node() -> None:
    now = placed(waiting(after(node("a"), service(constraints=("what",))), 1))
    assert why(now) == "no suitable node (scheduling constraints not satisfied on 1 node)"


# -- tasks that belong to a node -----------------------------------------------------------------------------------------------------------
def test_a_task_of_a_global_service_is_only_checked() -> None:
    now = placed(waiting(after(node("a"), node("b"), service(memory=GIB)), 1, node_id="b"))
    task = now.tasks["s1-00001"]
    assert (task.node_id, task.state, task.status.message) == (
        "b", TaskState.ASSIGNED, "scheduler confirmed task can run on preassigned node",
    )  # fmt: skip


def test_two_global_services_that_want_the_last_room_do_not_block_each_other() -> None:
    now = after(node("a", memory=GIB), service("s1", memory=GIB), service("s2", memory=GIB))
    now = placed(waiting(waiting(now, 1, "s1", node_id="a"), 1, "s2", node_id="a"))
    assert [now.tasks[task_id].state for task_id in ("s1-00001", "s2-00001")] == [TaskState.ASSIGNED, TaskState.PENDING]
    assert why(now, "s2") == "no suitable node (insufficient resources on 1 node)"


def test_its_node_being_drained_is_said() -> None:
    now = placed(waiting(after(node("a", availability=Availability.DRAIN), service()), 1, node_id="a"))
    assert why(now) == "no suitable node (1 node not available for new tasks)"


# -- rounds ---------------------------------------------------------------------------------------------------------------------------
def test_a_round_is_bounded_and_names_what_it_left() -> None:
    now = waiting(after(node("a"), service()), 30)
    done = plan(now, limit=10)
    assert (len(done.changes), len(done.again)) == (10, 20)


def test_a_round_looks_at_a_bounded_number_of_nodes() -> None:
    nodes = [node(f"n{number:02}", memory=1) for number in range(20)]
    now = after(*nodes, *(service(f"s{number}", memory=GIB) for number in range(10)))
    for number in range(10):
        now = waiting(now, 1, f"s{number}")
    done = plan(now, visits=50)
    assert (len(done.unplaced), len(done.again)) == (3, 7)


def test_the_same_refusal_is_not_written_again() -> None:
    now = placed(waiting(after(service()), 3))
    done = plan(now)
    assert (done.changes, len(done.unplaced)) == ([], 3)


def test_tasks_that_shall_not_run_are_not_placed() -> None:
    now = waiting(after(node("a"), service()), 1)
    now = after(TaskChange(id="s1-00001", desired_state=TaskState.SHUTDOWN), now=now)
    assert plan(now) == Placed(changes=[], unplaced=[], again=[])


def test_a_roster_is_kept_as_long_as_no_node_changes() -> None:
    now = waiting(after(node("a"), service()), 1)
    roster = Roster.of(now)
    assert Roster.of(placed(now), roster) is roster
    assert Roster.of(after(node("b"), now=now), roster) is not roster


# -- properties ----------------------------------------------------------------------------------------------------------------------------
case = st.fixed_dictionaries(
    {
        "constraints": st.sampled_from([(), ("node.labels.disk==ssd",), ("node.labels.disk!=ssd",)]),
        "preferences": st.sampled_from([(), ("node.labels.zone",)]),
        "max_replicas": st.sampled_from([0, 0, 1, 2]),
        "memory": st.sampled_from([0, GIB, 3 * GIB]),
        "ports": st.sampled_from([(), (PortConfig(protocol="tcp", target_port=80, published_port=80, publish_mode="host"),)]),
    }
)
machine = st.fixed_dictionaries(
    {
        "memory": st.sampled_from([GIB, 4 * GIB]),
        "disk": st.sampled_from(["ssd", "hdd"]),
        "zone": st.sampled_from(["a", "b"]),
        "availability": st.sampled_from([Availability.ACTIVE, Availability.ACTIVE, Availability.PAUSE]),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.lists(machine, max_size=8), st.lists(st.tuples(case, st.integers(1, 12)), min_size=1, max_size=4), st.integers(1, 7))
def test_nothing_is_overdrawn_and_nobody_waits_who_could_run(machines: list, cases: list, slice_: int) -> None:
    now = EMPTY_SNAPSHOT
    for number, one in enumerate(machines):
        now = after(node(f"n{number}", **one), now=now)
    for number, (wishes, count) in enumerate(cases):
        now = waiting(after(service(f"s{number}", **wishes), now=now), count, f"s{number}")
    while (done := plan(now, limit=slice_)).changes:
        now = carried_out(now, done)
    for one in now.nodes.values():
        usage = now.usage(one.id)
        assert usage.memory_bytes <= one.description.resources.memory_bytes
        assert set(usage.port_counts.values()) <= {1}
        assert not usage.tasks or one.spec.availability is Availability.ACTIVE
    for number, (wishes, _) in enumerate(cases):
        _fits(now, f"s{number}", wishes)


def _fits(now: Snapshot, service_id: str, wishes: dict) -> None:
    """Checked from the wishes themselves, not by the filters."""
    waits = any(task.state is TaskState.PENDING for task in now.tasks_of(service_id).values())
    counts = places(now, service_id)
    for one in now.nodes.values():
        ssd = one.spec.labels["disk"] == "ssd"
        suits = not wishes["constraints"] or ssd is (wishes["constraints"][0] == "node.labels.disk==ssd")
        full = bool(wishes["max_replicas"]) and counts.get(one.id, 0) >= wishes["max_replicas"]
        room = one.description.resources.memory_bytes - now.usage(one.id).memory_bytes
        taken = bool(wishes["ports"]) and bool(now.usage(one.id).host_ports)
        could = one.spec.availability is Availability.ACTIVE and suits and not full and not taken and wishes["memory"] <= room
        assert not (waits and could)
        assert suits or one.id not in counts
        assert not wishes["max_replicas"] or counts.get(one.id, 0) <= wishes["max_replicas"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 15), min_size=1, max_size=5))
def test_the_spread_of_a_service_differs_by_one_at_most(nodes: int, batches: list[int]) -> None:
    now = after(service(), *(node(f"n{number}") for number in range(nodes)))
    for count in batches:
        now = placed(waiting(now, count))
        counts = [places(now).get(node_id, 0) for node_id in now.nodes]
        assert max(counts) - min(counts) <= 1
