"""A network removed with its last tasks still ending keeps their addresses taken, gives its name back at once, and goes with them."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.commands import CreateNetwork, RemoveNetwork
from cluster.api.errors import FailedPrecondition, NotFound
from cluster.api.objects import Attachment, Network, Node, Service, Task, TaskStatus
from cluster.api.specs import ContainerSpec, NetworkAttachmentConfig, NetworkSpec, ServiceSpec, TaskSpec
from cluster.api.states import Kind, TaskState
from manager.allocator.leaving import plan
from manager.controlapi.networks import create, remove
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

FRONT = Network(id="front", spec=NetworkSpec(name="front"), subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)
SPEC = ServiceSpec(
    name="web",
    task_template=TaskSpec(container_spec=ContainerSpec(image="nginx"), networks=(NetworkAttachmentConfig(target="front"),)),
)


def after(now: Snapshot, *changes: Change) -> Snapshot:
    fresh, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return fresh


def ending(desired: TaskState, *, service_stays: bool = False) -> Snapshot:
    """The service is gone, or stays without naming the network any more; its task still runs, with an address."""
    task = Task(
        id="t1", service_id="s1", template_version=1, slot=1, node_id="n1", desired_state=desired,
        status=TaskStatus(state=TaskState.RUNNING), attachments=(Attachment(network_id="front", address="10.0.1.5/24"),),
    )  # fmt: skip
    now = after(EMPTY_SNAPSHOT, Put(object=Node(id="n1")), Put(object=FRONT), Put(object=Service(id="s1", spec=SPEC)))
    service = now.services["s1"]
    now = after(now, Put(object=replace(task, template_version=service.template_version)))
    if service_stays:
        plain = replace(service, spec=replace(SPEC, task_template=TaskSpec(container_spec=ContainerSpec(image="nginx"))))
        return after(now, Put(object=plain, base=service.version))
    return after(now, Remove(kind=Kind.SERVICE, id="s1"))


def test_a_task_that_is_to_go_on_keeps_its_network() -> None:
    with pytest.raises(FailedPrecondition, match="network front is in use by task t1"):
        remove(ending(TaskState.RUNNING, service_stays=True), RemoveNetwork(id="front"))


def test_a_task_whose_service_is_gone_is_ending_before_it_was_told_so() -> None:
    assert remove(ending(TaskState.RUNNING), RemoveNetwork(id="front")).id == "front"


def test_the_name_is_free_at_once_and_the_subnet_only_with_the_last_task() -> None:
    now = ending(TaskState.REMOVE)
    now = after(now, *remove(now, RemoveNetwork(id="front")).changes)
    assert now.networks["front"].leaving
    assert plan(now) == ()
    now = after(now, *create(now, CreateNetwork(id="new", spec=NetworkSpec(name="front"))).changes)
    assert now.named(Kind.NETWORK, "front") == now.networks["new"]
    with pytest.raises(NotFound):
        remove(now, RemoveNetwork(id="front"))
    now = after(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.SHUTDOWN)))
    assert [change.id for change in plan(now) if isinstance(change, Remove)] == ["front"]
    now = after(now, *plan(now))
    assert set(now.networks) == {"new"}


def test_one_without_tasks_goes_at_once() -> None:
    now = after(EMPTY_SNAPSHOT, Put(object=FRONT))
    assert set(after(now, *remove(now, RemoveNetwork(id="front")).changes).networks) == set()
