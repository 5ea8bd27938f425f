"""Every manager tells what its applied log says, in Docker's actions and attributes."""

import asyncio

from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.objects import ContainerStatus, Network, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus, UpdateStatus
from cluster.api.specs import ContainerSpec, NetworkSpec, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec
from cluster.api.states import Kind, NodeState, TaskState, UpdateState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api.swarm_events import KEPT_OF_TASKS, EventLog, derive

KEYS = ("state.new", "desiredstate.new", "ready.new", "node", "exitCode", "reason")


def after(now: Snapshot, *changes: Change) -> Snapshot:
    fresh, refusal = apply(now, now.version + 1, ChangeSet(at=1_700_000_000_000_000_000, changes=changes))
    assert refusal is None, refusal
    return fresh


def spec(replicas: int, image: str = "nginx:1") -> ServiceSpec:
    return ServiceSpec(
        name="web",
        labels={"team": "a"},
        mode=ServiceMode(replicated=ReplicatedMode(replicas=replicas)),
        task_template=TaskSpec(container_spec=ContainerSpec(image=image)),
    )


CREATED = after(EMPTY_SNAPSHOT, Put(object=Service(id="s1", spec=spec(1))))


def test_a_service_is_created_and_removed() -> None:
    (created,) = derive(EMPTY_SNAPSHOT, CREATED, at=5)
    assert (created.type, created.action, created.actor.id) == ("service", "create", "s1")
    assert created.actor.attributes == {"name": "web", "team": "a"}
    (removed,) = derive(CREATED, after(CREATED, Remove(kind=Kind.SERVICE, id="s1")), at=7_000_000_000)
    assert (removed.action, removed.time, removed.time_nano) == ("remove", 7, 7_000_000_000)


def test_an_update_says_what_differs() -> None:
    row = CREATED.services["s1"]
    (event,) = derive(CREATED, after(CREATED, Put(object=replace(row, spec=spec(3, "nginx:2")), base=row.version)), at=5)
    attributes = event.actor.attributes
    assert (attributes["replicas.old"], attributes["replicas.new"]) == ("1", "3")
    assert (attributes["image.old"], attributes["image.new"]) == ("nginx:1", "nginx:2")


def test_swarm_cronjob_sees_an_update_end() -> None:
    row = CREATED.services["s1"]
    updated = replace(row, update_status=UpdateStatus(state=UpdateState.COMPLETED))
    (event,) = derive(CREATED, after(CREATED, Put(object=updated, base=row.version)), at=5)
    assert event.actor.attributes["updatestate.new"] == "completed"


def test_a_node_that_goes_down_is_told_of_and_a_mere_description_is_not() -> None:
    now = after(EMPTY_SNAPSHOT, Put(object=Node(id="n1", status=NodeStatus(state=NodeState.READY))))
    row = now.nodes["n1"]
    down = after(now, Put(object=replace(row, status=NodeStatus(state=NodeState.DOWN)), base=row.version))
    (event,) = derive(now, down, at=5)
    assert (event.actor.attributes["state.old"], event.actor.attributes["state.new"]) == ("ready", "down")
    assert derive(now, after(now, Put(object=replace(row, number=7), base=row.version)), at=5) == []


def test_a_node_says_why_it_is_down_and_what_is_wrong_on_it() -> None:
    now = after(EMPTY_SNAPSHOT, Put(object=Node(id="n1", status=NodeStatus(state=NodeState.READY))))
    row = now.nodes["n1"]
    status = NodeStatus(state=NodeState.DOWN, message="heartbeat failure")
    (event,) = derive(now, after(now, Put(object=replace(row, status=status), base=row.version)), at=5)
    assert event.actor.attributes["reason"] == "heartbeat failure"
    troubled = replace(row, description=NodeDescription(trouble=("port 80/tcp is not served here",)))
    (event,) = derive(now, after(now, Put(object=troubled, base=row.version)), at=5)
    assert event.actor.attributes["reason"] == "port 80/tcp is not served here"


def test_an_update_that_pauses_and_a_service_that_gets_no_network_say_why() -> None:
    row = CREATED.services["s1"]
    paused = replace(row, update_status=UpdateStatus(state=UpdateState.PAUSED, message="update paused due to failure of task t1"))
    (event,) = derive(CREATED, after(CREATED, Put(object=paused, base=row.version)), at=5)
    assert (event.actor.attributes["updatestate.new"], event.actor.attributes["reason"]) == (
        "paused",
        "update paused due to failure of task t1",
    )
    waiting = replace(row, pending_reason="port 80/tcp belongs to service old")
    (event,) = derive(CREATED, after(CREATED, Put(object=waiting, base=row.version)), at=5)
    assert event.actor.attributes["reason"] == "port 80/tcp belongs to service old"


def test_a_network_is_removed_when_it_is_told_to_and_not_once_more() -> None:
    now = after(EMPTY_SNAPSHOT, Put(object=Network(id="n1", spec=NetworkSpec(name="front"))))
    leaving = after(now, Put(object=replace(now.networks["n1"], leaving=True), base=now.networks["n1"].version))
    (event,) = derive(now, leaving, at=5)
    assert (event.action, event.actor.attributes) == ("remove", {"name": "front", "type": "overlay"})
    assert derive(leaving, after(leaving, Remove(kind=Kind.NETWORK, id="n1")), at=5) == []


def test_a_tasks_steps_are_told_with_their_reasons() -> None:
    now = after(
        CREATED, Put(object=Node(id="n1", description=NodeDescription(hostname="host-1"), status=NodeStatus(state=NodeState.READY)))
    )
    task = Task(id="t1", service_id="s1", template_version=now.services["s1"].template_version, slot=1)
    told = []

    def step(change: Change) -> None:
        nonlocal now
        before, now = now, after(now, change)
        told.extend(
            (event.action, {key: event.actor.attributes[key] for key in KEYS if key in event.actor.attributes})
            for event in derive(before, now, at=5)
            if event.type == "task"
        )

    step(Put(object=task))
    step(TaskChange(id="t1", status=TaskStatus(state=TaskState.PENDING, err="no suitable node (insufficient resources on 1 node)")))
    step(TaskChange(id="t1", status=TaskStatus(state=TaskState.ASSIGNED), node_id="n1"))
    step(TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING, message="started", ready=False)))
    step(TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING, message="started again", ready=False)))
    step(TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING)))
    row = now.nodes["n1"]
    step(Put(object=replace(row, status=NodeStatus(state=NodeState.DOWN)), base=row.version))
    step(TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
    ended = TaskStatus(state=TaskState.FAILED, err="task: non-zero exit (3)", container=ContainerStatus(exit_code=3))
    step(TaskChange(id="t1", status=ended))
    step(Remove(kind=Kind.TASK, id="t1"))
    assert told == [
        ("create", {"state.new": "new"}),
        ("update", {"state.new": "pending", "reason": "no suitable node (insufficient resources on 1 node)"}),
        ("update", {"state.new": "assigned", "node": "host-1"}),
        ("update", {"state.new": "running", "node": "host-1"}),
        ("update", {"ready.new": "true", "node": "host-1"}),
        ("update", {"desiredstate.new": "shutdown", "node": "host-1", "reason": "node host-1 is down"}),
        ("update", {"state.new": "failed", "ready.new": "false", "node": "host-1", "exitCode": "3", "reason": "task: non-zero exit (3)"}),
        ("remove", {"node": "host-1", "exitCode": "3"}),
    ]


async def test_many_steps_of_tasks_do_not_push_out_what_else_happened() -> None:
    log, store = EventLog(ManualClock()), Latest(EMPTY_SNAPSHOT)
    following = asyncio.ensure_future(log.follow(store))
    await asyncio.sleep(0)
    now = CREATED
    for number in range(KEPT_OF_TASKS + 10):
        store.set(now)
        await asyncio.sleep(0)
        task = Task(id=f"t{number}", service_id="s1", template_version=now.services["s1"].template_version, slot=1)
        now = after(now, Put(object=task), *([Remove(kind=Kind.TASK, id=f"t{number - 1}")] if number else []))
    heard = log.since(0)
    first, second = await anext(heard), await anext(heard)
    assert ((first.type, first.action), second.type) == (("service", "create"), "task")
    await heard.aclose()
    following.cancel()


async def test_a_listener_hears_the_past_it_asks_for_and_then_what_comes() -> None:
    log, store = EventLog(ManualClock()), Latest(EMPTY_SNAPSHOT)
    following = asyncio.ensure_future(log.follow(store))
    await asyncio.sleep(0)
    store.set(CREATED)
    await asyncio.sleep(0)
    heard = log.since(0)
    assert (await anext(heard)).action == "create"
    row = CREATED.services["s1"]
    store.set(after(CREATED, Put(object=replace(row, spec=spec(2)), base=row.version)))
    assert (await anext(heard)).action == "update"
    await heard.aclose()
    following.cancel()
