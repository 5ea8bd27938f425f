"""A named generic resource is one task's own: given by the scheduler, remembered, and free again when the task has ended."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.api.changes import ChangeSet, Put, TaskChange
from cluster.api.objects import Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import (
    ContainerSpec,
    DiscreteResource,
    GenericResource,
    NamedResource,
    Reservations,
    Resources,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import NodeState, TaskState
from manager.scheduler.plan import plan
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def after(now: Snapshot, *changes) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def world(nodes: int, names: int, each: int) -> Snapshot:
    now = EMPTY_SNAPSHOT
    for number in range(nodes):
        named = tuple(GenericResource(named_resource_spec=NamedResource(kind="gpu", value=f"u{one}")) for one in range(names))
        description = NodeDescription(resources=Reservations(generic_resources=named))
        now = after(now, Put(object=Node(id=f"n{number}", description=description, status=NodeStatus(state=NodeState.READY))))
    wish = GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=each))
    template = TaskSpec(container_spec=ContainerSpec(image="i"), resources=Resources(reservations=Reservations(generic_resources=(wish,))))
    return after(now, Put(object=Service(id="s1", spec=ServiceSpec(name="s1", task_template=template))))


def waiting(now: Snapshot, *ids: str) -> Snapshot:
    version = now.services["s1"].template_version
    status = TaskStatus(state=TaskState.PENDING)
    return after(now, *(Put(object=Task(id=one, service_id="s1", template_version=version, slot=1, status=status)) for one in ids))


def placed(now: Snapshot) -> Snapshot:
    done = plan(now)
    return after(now, *done.changes) if done.changes else now


def test_a_task_gets_names_of_its_own_and_they_are_free_after_its_end() -> None:
    now = placed(waiting(world(1, 3, 2), "t1", "t2"))
    assert [one.value for one in now.tasks["t1"].resources] == ["u0", "u1"]
    assert now.tasks["t2"].node_id == ""
    now = placed(after(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.FAILED))))
    assert [one.value for one in now.tasks["t2"].resources] == ["u0", "u1"]
    assert now.usage("n0").named == {("gpu", "u0"), ("gpu", "u1")}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.integers(0, 5), st.integers(1, 3), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=12))
def test_no_name_is_ever_given_twice(nodes: int, names: int, each: int, story: list[tuple[bool, int]]) -> None:
    now = world(nodes, names, each)
    for step, (comes, which) in enumerate(story):
        if comes:
            now = placed(waiting(now, f"t{step:02}"))
        elif now.tasks:
            task = sorted(now.tasks.values(), key=lambda one: one.id)[which % len(now.tasks)]
            now = placed(after(now, TaskChange(id=task.id, status=TaskStatus(state=max(task.state, TaskState.FAILED)))))
        held = [(task.node_id, one.value) for task in now.tasks.values() if task.node_id and not task.state.ended for one in task.resources]
        assert len(held) == len(set(held))
        assert all(len(task.resources) == each for task in now.tasks.values() if task.node_id)
