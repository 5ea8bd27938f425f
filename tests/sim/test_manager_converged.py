"""What the simulation takes for a cluster at rest: everything that is wanted runs, or waits honestly for a port."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put
from cluster.api.objects import Node, NodeDescription, NodeStatus, Service, Task, TaskStatus, UpdateStatus
from cluster.api.specs import ContainerSpec, EndpointSpec, PortConfig, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec, UpdateConfig
from cluster.api.states import NodeState, TaskState, UpdateState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from tests.sim.manager_converged import lacking


def after(now: Snapshot, *changes: Change) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def task(now: Snapshot, task_id: str, slot: int, state: TaskState, *, node_id: str = "", err: str = "") -> Snapshot:
    status = TaskStatus(state=state, err=err)
    version = now.services["s"].template_version
    return after(now, Put(object=Task(id=task_id, service_id="s", template_version=version, slot=slot, node_id=node_id, status=status)))


def half_way(order: str, *, replicas: int = 2, free: bool = False) -> Snapshot:
    """A service with a host port on each of two nodes, and an update of it that has made the first new task."""
    spec = ServiceSpec(
        name="web",
        task_template=TaskSpec(container_spec=ContainerSpec(image="old")),
        mode=ServiceMode(replicated=ReplicatedMode(replicas=replicas)),
        endpoint_spec=EndpointSpec(ports=(PortConfig(protocol="tcp", target_port=80, published_port=9000, publish_mode="host"),)),
        update_config=UpdateConfig(order=order),
    )
    names = ("n1", "n2", "n3") if free else ("n1", "n2")
    nodes = (Node(id=name, description=NodeDescription(hostname=name), status=NodeStatus(state=NodeState.READY)) for name in names)
    now = after(EMPTY_SNAPSHOT, *(Put(object=node) for node in nodes), Put(object=Service(id="s", spec=spec)))
    now = task(task(now, "t1", 1, TaskState.RUNNING, node_id="n1"), "t2", 2, TaskState.RUNNING, node_id="n2")
    newer = replace(spec, task_template=TaskSpec(container_spec=ContainerSpec(image="new")))
    status = UpdateStatus(state=UpdateState.UPDATING, message="update in progress")
    service = now.services["s"]
    now = after(now, Put(object=replace(service, spec=newer, update_status=status), base=service.version))
    return task(now, "t3", 1, TaskState.PENDING, err="no suitable node (host-mode port already in use on 2 nodes)")


def test_start_first_on_a_full_fleet_is_at_rest() -> None:
    now = half_way("start-first")
    assert lacking(now, now.services["s"]) == ""


@pytest.mark.parametrize(
    "now",
    [half_way("stop-first"), half_way("start-first", free=True), half_way("start-first", replicas=3)],
    ids=["stop-first would not wait", "a node has the port free", "a replica is missing"],
)
def test_any_other_wait_is_not(now: Snapshot) -> None:
    assert lacking(now, now.services["s"]).startswith("service web wants ")
