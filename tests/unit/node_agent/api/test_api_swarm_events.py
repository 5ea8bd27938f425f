"""Every manager tells what its applied log says, in Docker's actions and attributes."""

import asyncio

from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.api.changes import Change, ChangeSet, Put, Remove
from cluster.api.objects import Node, NodeStatus, Service, UpdateStatus
from cluster.api.specs import ContainerSpec, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec
from cluster.api.states import Kind, NodeState, UpdateState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api.swarm_events import EventLog, derive


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
