"""What the store should say of nodes, from what their sessions said. Pure; only transitions are written."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from cluster.api.assignment import Hello
from cluster.api.changes import Change, Put, TaskChange
from cluster.api.features import ABSENCES
from cluster.api.ids import Id
from cluster.api.objects import Node, NodeStatus
from cluster.api.specs import SECOND, NodeSpec
from cluster.api.states import Availability, NodeState, Role, TaskState
from manager.store.snapshot import Snapshot

ORPHANED_AFTER = 24 * 3600.0
"""Seconds that a node is down before its tasks are given up."""


def role_of(node: Node) -> Role:
    """The role that a node's certificate should have: a demoted manager keeps its own until it is no member any more."""
    return Role.MANAGER if node.member is not None else node.spec.role


def node_changes(now: Snapshot, present: Mapping[Id, Hello], missed: Iterable[Id]) -> list[Change]:
    """`present`: the nodes with a session, and what they last said of themselves; `missed`: those that fell silent."""
    changes: list[Change] = []
    for node_id, hello in present.items():
        node = now.nodes.get(node_id)
        if node is not None and (wanted := _as_said(node, hello)) != node:
            changes.append(Put(object=wanted, base=node.version))
    for node_id in missed:
        node = now.nodes.get(node_id)
        if node is not None and node_id not in present and not _is_down(node):
            status = NodeStatus(state=NodeState.DOWN, message="heartbeat failure", addr=node.status.addr)
            changes.append(Put(object=replace(node, status=status), base=node.version))
    return changes


def departure(now: Snapshot, node_id: Id, *, seconds: float) -> list[Change]:
    """The node announced to be away: the next leader must know of it as well, if every manager knows what that is."""
    node, away = now.nodes.get(node_id), int(seconds * SECOND)
    if node is None or node.status.away == away or now.feature_level < ABSENCES.level:
        return []
    return [Put(object=replace(node, status=replace(node.status, away=away)), base=node.version)]


def absences(now: Snapshot) -> Mapping[Id, float]:
    """Seconds, by node: those that were announced and not taken for lost yet."""
    return {node.id: node.status.away / SECOND for node in now.nodes.values() if node.status.away and not _is_down(node)}


def _is_down(node: Node) -> bool:
    return node.status.state is NodeState.DOWN


def _as_said(node: Node, hello: Hello) -> Node:
    return replace(
        node,
        spec=_asked_for(node, hello),
        description=hello.description,
        status=NodeStatus(state=NodeState.READY, addr=hello.addr or node.status.addr),
        data_path_addr=hello.data_path_addr or node.data_path_addr,
    )


def _asked_for(node: Node, hello: Hello) -> NodeSpec:
    """A node says its availability when it joins; from then on the swarm's users do."""
    if node.status.state is not NodeState.UNKNOWN or hello.availability not in set(Availability):
        return node.spec
    return replace(node.spec, availability=Availability(hello.availability))


def orphans(now: Snapshot, node_ids: Iterable[Id], *, at_most: int) -> list[Change]:
    """The tasks of nodes that have been down too long: nobody will ever say what became of them."""
    changes: list[Change] = []
    for node_id in node_ids:
        for task in now.tasks_on(node_id).values():
            if not task.state.ended and len(changes) < at_most:
                message = "Task belongs to a node that has been down for too long"
                status = replace(task.status, state=TaskState.ORPHANED, timestamp=0, message=message)
                changes.append(TaskChange(id=task.id, status=status))
    return changes
