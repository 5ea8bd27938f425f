"""Nodes: role, availability, labels; forgetting one. Pure."""

from collections.abc import Iterator

from msgspec.structs import replace

from cluster.api.changes import Expect, Put, Remember, Remove, TaskChange
from cluster.api.commands import RemoveNode, UpdateNode
from cluster.api.errors import FailedPrecondition, NotFound, OutOfSequence
from cluster.api.features import too_old
from cluster.api.ids import Id
from cluster.api.objects import Node
from cluster.api.states import Kind, NodeState, Role, TaskState
from manager.controlapi.admission import Admission
from manager.controlapi.guests import without_node
from manager.controlapi.validate_names import check_labels
from manager.store.snapshot import Snapshot


def update(now: Snapshot, command: UpdateNode) -> Admission:
    present = _present(now, command.id)
    if command.version < present.spec_version:
        raise OutOfSequence(f"node {present.id}")
    check_labels(command.spec.labels)
    if command.spec.role is Role.MANAGER:
        _check_level(now, present)
    demoted = present.spec.role is Role.MANAGER and command.spec.role is Role.WORKER
    stay = _others_that_stay(now, present) if demoted else ()
    put = replace(present, spec=command.spec)
    return Admission(
        id=put.id, changes=(*stay, Put(object=put, base=present.version), Remember(request_id=command.request_id, object_id=put.id))
    )


def remove(now: Snapshot, command: RemoveNode) -> Admission:
    present = _present(now, command.id)
    if present.spec.role is Role.MANAGER or present.member is not None:
        raise FailedPrecondition(
            f"node {present.id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
        )
    if present.status.state is NodeState.READY and not command.force:
        raise FailedPrecondition(f"node {present.id} is not down and can't be removed")
    return Admission(
        id=present.id,
        changes=(
            *_orphaned(now, present.id),
            *without_node(now, present.id),
            Remove(kind=Kind.NODE, id=present.id, base=present.version),
            Remember(request_id=present.id, object_id=present.id),
        ),
    )


def _orphaned(now: Snapshot, node_id: Id) -> Iterator[TaskChange]:
    """Nobody will ever say what became of the tasks of a node that is forgotten."""
    for task in now.tasks_on(node_id).values():
        if not task.state.ended:
            message = "Task belonged to a node that has been removed"
            status = replace(task.status, state=TaskState.ORPHANED, timestamp=0, message=message)
            yield TaskChange(id=task.id, status=status)


def _present(now: Snapshot, node_id: Id) -> Node:
    node = now.nodes.get(node_id)
    if node is None:
        raise NotFound(f"node {node_id} not found")
    return node


def _check_level(now: Snapshot, node: Node) -> None:
    """A version that could not apply what is in the log cannot be a manager."""
    level = node.description.feature_level
    if node.spec.role is Role.WORKER and level < now.feature_level:
        raise FailedPrecondition(too_old(f"node {node.description.hostname or node.id}", level, now.feature_level))


def _others_that_stay(now: Snapshot, node: Node) -> tuple[Expect, ...]:
    """A swarm keeps a manager, and a quorum of those that can be reached; two demotions at a time must not both count on the other."""
    others = [one for one in now.nodes.values() if one.spec.role is Role.MANAGER and one.id != node.id]
    if not others:
        raise FailedPrecondition("attempting to demote the last manager of the swarm")
    ready = sum(one.status.state is not NodeState.DOWN for one in others)
    if ready < len(others) // 2 + 1:
        raise FailedPrecondition(
            f"can't remove member {node.id} from the raft: this would result in a loss of quorum ({ready} of {len(others)} others are up)"
        )
    return tuple(Expect(kind=Kind.NODE, id=one.id, base=one.version) for one in sorted(others, key=lambda one: one.id))
