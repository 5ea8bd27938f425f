"""Why a task may not stay where it is: its node is lost, or does not want or suit it any more. Pure.

A lost node's task is replaced at once; one that only has to leave is stopped first. Neither is a failure: no delay, no back-off.
"""

import enum
from collections.abc import Iterable

from cluster.api.constraints import Constraint, all_satisfied
from cluster.api.objects import Node, Task
from cluster.api.states import Availability, NodeState
from manager.store.snapshot import Snapshot

DRAIN_ORDER = "io.shoal.drain-order"
"""A node's label: how a drain goes about; `shoal node update --availability drain --order start-first` sets it."""
START_FIRST = "start-first"


class Misfit(enum.Enum):
    LOST = "its node is down or gone"
    UNWELCOME = "its node is drained, or no longer meets the constraints"


def misfit(now: Snapshot, task: Task, constraints: Iterable[Constraint]) -> Misfit | None:
    """None for a task that may stay, or has no place yet."""
    if not task.node_id:
        return None
    node = now.nodes.get(task.node_id)
    if node is None or lost(node):
        return Misfit.LOST
    if node.spec.availability is Availability.DRAIN or not all_satisfied(constraints, node):
        return Misfit.UNWELCOME
    return None


def leaves_last(now: Snapshot, task: Task) -> bool:
    """Its node is drained in an order in which nothing stops before its successor serves."""
    node = now.nodes.get(task.node_id)
    drained = node is not None and node.spec.availability is Availability.DRAIN
    return drained and node is not None and node.spec.labels.get(DRAIN_ORDER) == START_FIRST


def lost(node: Node) -> bool:
    return node.status.state is NodeState.DOWN


def takes_tasks(node: Node) -> bool:
    """Ready and active: new tasks may come."""
    return node.status.state is NodeState.READY and node.spec.availability is Availability.ACTIVE


def has_joined(before: Node | None, after: Node | None) -> bool:
    """A node takes tasks that was not there, or did not."""
    return after is not None and takes_tasks(after) and (before is None or not takes_tasks(before))


def may_run(now: Snapshot, task: Task) -> bool:
    """There is, or may soon be, a container of this task somewhere that can be told to stop."""
    if task.state.ended or not task.node_id:
        return False
    node = now.nodes.get(task.node_id)
    return node is not None and not lost(node)
