"""Whoever asks why a task or a service is not as it should be is told by each stage, with the figure that is missing."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, TaskChange
from cluster.api.objects import (
    ContainerStatus,
    EngineDescription,
    Network,
    Node,
    NodeDescription,
    NodeStatus,
    Service,
    Task,
    TaskStatus,
    UpdateStatus,
)
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    Dependency,
    DiscreteResource,
    EndpointSpec,
    Extensions,
    GenericResource,
    HealthConfig,
    LogDriver,
    NetworkAttachmentConfig,
    NetworkSpec,
    NodeSpec,
    Placement,
    Platform,
    PortConfig,
    ReplicatedJobMode,
    ReplicatedMode,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from cluster.api.states import Availability, NodeState, TaskState, UpdateState
from manager import why
from manager.scheduler.explain import size
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api import views
from node_agent.api.versions import ApiVersion

GIB = 1 << 30


def after(*changes: Change, now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def node(name: str, *, state: NodeState = NodeState.READY, availability: Availability = Availability.ACTIVE, **labels: str) -> Put:
    gpus = (GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=2)),)
    description = NodeDescription(
        hostname=name,
        platform=Platform(os="linux", architecture="x86_64"),
        resources=Reservations(nano_cpus=4 * SECOND, memory_bytes=4 * GIB, generic_resources=gpus),
        engine=EngineDescription(plugins=({"Type": "Log", "Name": "json-file"},)),
    )
    spec = NodeSpec(labels=labels, availability=availability)
    return Put(object=Node(id=name, spec=spec, description=description, status=NodeStatus(state=state)))


def service(service_id: str = "s1", *, name: str = "web", extensions: Extensions = Extensions(), **template: object) -> Put:  # noqa: B008
    ports, update_config = template.pop("ports", ()), template.pop("update_config", None)
    mode = template.pop("mode", ServiceMode(replicated=ReplicatedMode(replicas=2)))
    spec = ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=ContainerSpec(image="i"), **template),
        mode=mode,
        endpoint_spec=EndpointSpec(ports=ports),
        update_config=update_config,
    )
    return Put(object=Service(id=service_id, spec=spec, extensions=extensions))


def task(now: Snapshot, task_id: str, state: TaskState = TaskState.PENDING, *, service_id: str = "s1", **fields: object) -> Snapshot:
    status = TaskStatus(state=state, **{name: fields.pop(name) for name in ("err", "message", "ready", "container") if name in fields})
    version = now.services[service_id].template_version
    slot = fields.pop("slot", len(now.tasks) + 1)
    return after(Put(object=Task(id=task_id, service_id=service_id, template_version=version, slot=slot, status=status, **fields)), now=now)


def reserve(**amounts: object) -> dict[str, object]:
    return {"resources": Resources(reservations=Reservations(**amounts))}


def nodes(now: Snapshot, task_id: str = "t1") -> dict[str, tuple[str, ...]]:
    return {one.hostname: one.texts for one in why.of_task(now, now.tasks[task_id]).nodes}


def test_memory_and_cpus_are_told_with_what_is_free() -> None:
    now = after(node("n1"), service(**reserve(memory_bytes=2 * GIB, nano_cpus=3 * SECOND)))
    now = task(task(now, "t0", TaskState.RUNNING, node_id="n1"), "t1")
    now = task(now, "t2", TaskState.RUNNING, node_id="n1")
    assert nodes(now) == {
        "n1": ("cpu: needs 3; n1 has -2 free of 4", "memory: needs 2 GiB; n1 has 0 B free of 4 GiB"),
    }


def test_every_filter_that_refuses_is_told_the_nearest_node_first() -> None:
    template = {
        "placement": Placement(
            constraints=("node.labels.disk==ssd",), max_replicas=1, platforms=(Platform(os="linux", architecture="arm64"),)
        ),
        "log_driver": LogDriver(name="gelf"),
        "ports": (PortConfig(protocol="tcp", target_port=80, published_port=80, publish_mode="host"),),
        **reserve(generic_resources=(GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=2)),)),
    }
    now = after(node("n1", disk="hdd"), node("n2", state=NodeState.DOWN, availability=Availability.DRAIN), service(**template))
    now = task(task(now, "t0", TaskState.RUNNING, node_id="n1"), "t1")
    found = nodes(now)
    assert found["n1"] == (
        "constraint: node.labels.disk==ssd; n1 has hdd",
        "plugin: needs log driver gelf; n1 has it not",
        "platform: the image is for linux/arm64; n1 is linux/amd64",
        "gpu: needs 2; n1 has 0 free of 2",
        "host port: 80/tcp on n1 is in use by service web",
        "max replicas per node: n1 has 1 of at most 1",
    )
    assert found["n2"][:3] == (
        "state: n2 is down",
        "availability: n2 is set to drain",
        "constraint: node.labels.disk==ssd; n2 has none",
    )
    assert list(found) == ["n2", "n1"]


def test_nodes_that_would_do_once_they_are_free_come_before_those_that_never_do() -> None:
    template = {
        "placement": Placement(constraints=("node.labels.disk==ssd",)),
        **reserve(generic_resources=(GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=2)),)),
    }
    now = after(node("n1"), node("n2", state=NodeState.DOWN, availability=Availability.DRAIN, disk="ssd"), node("n3", disk="ssd"))
    now = task(after(service(**template), now=now), "t0", TaskState.RUNNING, node_id="n3")
    assert list(nodes(task(now, "t1"))) == ["n3", "n2", "n1"]


def test_a_node_that_fits_is_not_listed() -> None:
    now = task(after(node("n1"), node("n2", availability=Availability.PAUSE), service()), "t1")
    assert nodes(now) == {"n2": ("availability: n2 is set to pause",)}


def test_a_new_task_always_has_a_reason() -> None:
    now = task(after(service()), "t1", TaskState.NEW)
    assert why.of_task(now, now.tasks["t1"]).reasons == ("new: the allocator has not come to it yet",)
    present = now.services["s1"]
    now = after(Put(object=replace(present, pending_reason="no free port"), base=present.version), now=now)
    assert why.of_task(now, now.tasks["t1"]).reasons == ("no free port",)
    now = after(TaskChange(id="t1", status=TaskStatus(err="network front has no free address")), now=now)
    assert why.of_task(now, now.tasks["t1"]).reasons == ("network front has no free address",)


def test_pools_updates_and_dependencies_are_part_of_a_services_answer() -> None:
    depends = Extensions(depends_on=(Dependency(service="db"),))
    front = Network(id="net1", spec=NetworkSpec(name="front"), subnet="10.0.1.0/29", gateway="10.0.1.1")
    now = after(Put(object=front), service(extensions=depends, networks=(NetworkAttachmentConfig(target="net1"),)))
    present = now.services["s1"]
    paused = UpdateStatus(state=UpdateState.PAUSED, message="update paused due to failure or early termination of task t9")
    now = after(Put(object=replace(present, update_status=paused), base=present.version), now=now)
    answer = why.of_service(now, now.services["s1"])
    assert answer.reasons == (
        "update: paused: update paused due to failure or early termination of task t9",
        "start order: waiting for service db, which does not exist",
        "addresses: network front (10.0.1.0/29) has 0 of 5 in use",
    )
    assert (answer.running, answer.desired) == (0, 2)


def test_a_port_that_another_program_has_on_a_node_is_part_of_its_services_answer() -> None:
    def troubled(name: str, state: NodeState = NodeState.READY) -> Put:
        row = node(name, state=state).object
        assert isinstance(row, Node)
        text = "port 80/tcp of service {} is not served here: nginx (process 4) has it"
        return Put(object=replace(row, description=replace(row.description, trouble=(text.format("web"), text.format("web2")))))

    now = after(troubled("n2"), troubled("n1", NodeState.DOWN), node("n3"), service())
    answer = why.of_service(now, now.services["s1"])
    assert answer.reasons == ("node n2: port 80/tcp of service web is not served here: nginx (process 4) has it",)


def test_image_errors_exits_and_tasks_that_are_not_ready_are_told_by_their_own_words() -> None:
    now = after(node("n1"), service())
    now = task(now, "t1", TaskState.REJECTED, err="No such image: x", node_id="n1", desired_state=TaskState.SHUTDOWN, slot=1)
    now = task(now, "t2", TaskState.FAILED, err="task: non-zero exit (3)", container=ContainerStatus(exit_code=3), slot=2)
    now = task(now, "t3", TaskState.RUNNING, ready=False, err="readiness: no", node_id="n1", slot=2)
    answer = why.of_service(now, now.services["s1"])
    assert [(one.name, one.reasons) for one in answer.tasks] == [
        ("web.2", ("failed with exit code 3: task: non-zero exit (3)",)),
        ("web.2", ("running on n1, but not ready for traffic: readiness: no",)),
        ("web.1", ("rejected: No such image: x",)),
    ]


def test_a_task_that_shall_stop_and_one_on_a_lost_node_are_told_apart() -> None:
    now = after(node("n1", state=NodeState.DOWN), service())
    now = task(task(now, "t1", TaskState.RUNNING, node_id="n1", desired_state=TaskState.SHUTDOWN), "t2", TaskState.PREPARING, node_id="n1")
    assert why.of_task(now, now.tasks["t1"]).reasons == (
        "node: n1 is down; what runs there is not known",
        "it shall stop, and is running still on n1",
    )
    assert why.of_task(now, now.tasks["t2"]).reasons[1] == "preparing on n1: no word from there yet"


@pytest.mark.parametrize(
    ("policy", "state", "reason"),
    [
        (RestartPolicy(condition="none"), TaskState.FAILED, "not started again: the restart condition is none"),
        (RestartPolicy(condition="on-failure"), TaskState.COMPLETE, "not started again: the restart condition is on-failure"),
        (
            RestartPolicy(max_attempts=2, window=3 * SECOND),
            TaskState.FAILED,
            "not started again: the restart policy's attempts are used up (2 within 3s)",
        ),
    ],
)
def test_a_slot_that_stays_empty_says_why(policy: RestartPolicy, state: TaskState, reason: str) -> None:
    now = after(node("n1"), service(restart_policy=policy))
    now = task(now, "t1", state, desired_state=TaskState.SHUTDOWN, slot=1, node_id="n1")
    assert [one.reasons[-1] for one in why.of_service(now, now.services["s1"]).tasks] == [reason]
    now = task(now, "t2", TaskState.READY, desired_state=TaskState.READY, slot=1, node_id="n1")
    assert not why.left_ended(now, now.tasks["t1"])


def test_a_job_is_told_by_what_has_completed() -> None:
    now = after(node("n1"), service(mode=ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=1, total_completions=3))))
    goal = {"desired_state": TaskState.COMPLETE, "node_id": "n1"}
    now = task(task(now, "t1", TaskState.COMPLETE, slot=1, **goal), "t2", TaskState.RUNNING, slot=2, **goal)
    answer = why.of_service(now, now.services["s1"])
    assert (answer.completed, answer.desired, answer.running, answer.tasks) == (1, 3, 1, ())


def test_a_dependency_that_is_gone_holds_back_only_what_starts_from_now_on() -> None:
    extensions = Extensions(depends_on=(Dependency(service="db"),))
    now = task(after(node("n1"), service(extensions=extensions)), "t1", TaskState.RUNNING, node_id="n1")
    said = "waiting for service db, which does not exist"
    assert why.of_service(now, now.services["s1"]).reasons == (f"start order: what starts from now on is {said}",)
    now = task(now, "t2", TaskState.READY, desired_state=TaskState.READY, node_id="n1")
    assert why.of_service(now, now.services["s1"]).reasons == (f"start order: {said}",)


def test_a_task_that_waits_for_its_turn_says_so() -> None:
    now = task(after(node("n1"), service()), "t1", TaskState.READY, desired_state=TaskState.READY, node_id="n1", start_after=5 * SECOND)
    assert why.of_task(now, now.tasks["t1"]).reasons[0] == "restart delay: starts 5s after it was created"
    assert why.held_back(now, now.tasks["t1"]) == ""


@pytest.mark.parametrize(
    ("quick", "pause"), [(1, "restart delay: tried again 40s"), (9, "back-off after 9 quick failures in a row: tried again 40s")]
)
def test_a_task_that_failed_before_its_turn_says_when_the_next_is_tried(quick: int, pause: str) -> None:
    early = {"err": "No such image: x", "desired_state": TaskState.READY, "start_after": 40 * SECOND, "quick_failures": quick}
    now = task(after(node("n1"), service()), "t1", TaskState.REJECTED, node_id="n1", **early)
    assert why.of_task(now, now.tasks["t1"]).reasons == ("rejected: No such image: x", f"{pause} after it was created")


@pytest.mark.parametrize(
    ("test", "said"), [(("CMD", "up"), "starting, and running once its health check passes"), (("NONE",), "starting"), ((), "starting")]
)
def test_a_task_that_starts_says_that_its_health_check_is_waited_for(test: tuple[str, ...], said: str) -> None:
    container = ContainerSpec(image="i", healthcheck=HealthConfig(test=test))
    checked = service()
    spec = replace(checked.object.spec, task_template=TaskSpec(container_spec=container))
    now = after(node("n1"), Put(object=replace(checked.object, spec=spec)))
    now = task(now, "t1", TaskState.STARTING, node_id="n1", message="starting")
    assert why.of_task(now, now.tasks["t1"]).reasons == (f"starting on n1: {said}",)


def test_sizes_are_written_as_people_say_them() -> None:
    assert [size(one) for one in (0, 1023, 1 << 20, int(1.25 * GIB), 3 << 40)] == ["0 B", "1023 B", "1 MiB", "1.2 GiB", "3 TiB"]


def test_an_update_that_starts_first_tells_what_only_the_old_task_could_make_room_for() -> None:
    template = {"ports": (PortConfig(protocol="tcp", target_port=80, published_port=80, publish_mode="host"),)}
    made = service(update_config=UpdateConfig(order="start-first"), **template)
    now = task(after(node("n1"), made), "t1", TaskState.RUNNING, node_id="n1", slot=1)
    status = UpdateStatus(state=UpdateState.UPDATING, message="update in progress")
    present = now.services["s1"]
    spec = replace(present.spec, task_template=TaskSpec(container_spec=ContainerSpec(image="newer")))
    now = after(Put(object=replace(present, spec=spec, update_status=status), base=present.version), now=now)
    now = task(now, "t2", slot=1, err="no suitable node (host-mode port already in use on 1 node)")
    (reason,) = why.of_service(now, now.services["s1"]).reasons
    assert reason == (
        "update: updating: update in progress; 1 new task has no room beside the old, which start-first keeps until the new one serves "
        "(host port: 80/tcp on n1 is in use by service web); make room on another node, or let the old go first: "
        "service update --update-order stop-first web"
    )
    shown = views.service(now.services["s1"], now, version=ApiVersion(1, 51))["UpdateStatus"]
    assert f"update: {shown['State']}: {shown['Message']}" == reason
    elsewhere = task(now, "t0", TaskState.RUNNING, node_id="n1", slot=2)  # has the port too: the old one's end would change nothing
    (reason,) = why.of_service(elsewhere, elsewhere.services["s1"]).reasons
    assert reason == "update: updating: update in progress"
