"""Rebalancing: move tasks from the nodes that have most of a service to those that have fewest. Pure.

Asked for by a command, or by the service's own policy when a node joins; the wish is part of the service, so that it outlives a leader.
A move makes the successor first: the old task goes once the new one serves, so the service is never below what is desired. It ends when
the tasks are spread evenly, when nothing more can be moved, or when it has made as many moves as there were tasks.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from cluster.api.constraints import all_satisfied
from cluster.api.objects import Rebalance, Service, Task
from cluster.api.states import TaskState
from manager.orchestrator.enforcer import takes_tasks
from manager.orchestrator.round import Round, wanted
from manager.orchestrator.slots import serving
from manager.orchestrator.soft import rebalances, updating
from manager.store.indexes import Slot

Slots = Mapping[Slot, tuple[Task, ...]]


def plan(service: Service, slots: Slots, round_: Round) -> bool:
    """Whether the service itself was put: nothing else may put it in this round."""
    going = service.rebalance
    if going is None:
        return _begin(service, slots, round_)
    if _is_called_again(service, going, slots, round_):
        round_.put_service(replace(service, rebalance=replace(going, left=len(slots))))
        return True
    if updating(service):
        return False
    moving = {slot: new for slot, tasks in slots.items() if (new := _mover(tasks)) is not None}
    if in_vain := [new for slot, new in moving.items() if _is_in_vain(new, slots[slot])]:
        for new in in_vain:
            round_.want(new, TaskState.SHUTDOWN)
        round_.put_service(replace(service, rebalance=None))
        return True
    if any(slot not in moving and not _is_still(tasks) for slot, tasks in slots.items()):
        return False  # it is not all there yet: first that, then this
    moves = chosen(slots, moving, _eligible(service, round_), min(going.at_once - len(moving), going.left))
    for slot, old in moves:
        round_.create(service, slot, TaskState.RUNNING, replaces=old.id)
    if moves:
        round_.put_service(replace(service, rebalance=replace(going, left=going.left - len(moves))))
    elif not moving:
        round_.put_service(replace(service, rebalance=None))
    return bool(moves) or not moving


def _is_called_again(service: Service, going: Rebalance, slots: Slots, round_: Round) -> bool:
    """Another node joined: the moves that are left were counted without it."""
    return bool(rebalances(round_.now, service)) and service.id in round_.soft.to_rebalance and going.left < len(slots)


def _begin(service: Service, slots: Slots, round_: Round) -> bool:
    """By the service's own policy, after a node joined; not if there would be nothing to do."""
    at_once = rebalances(round_.now, service)
    if not at_once or service.id not in round_.soft.to_rebalance:
        return False
    if all(_is_still(tasks) for tasks in slots.values()) and not chosen(slots, {}, _eligible(service, round_), 1):
        return False
    round_.put_service(replace(service, rebalance=Rebalance(at_once=at_once, left=len(slots))))
    return True


def _eligible(service: Service, round_: Round) -> list[str]:
    constraints = round_.constraints_of(service)
    return sorted(node.id for node in round_.now.nodes.values() if takes_tasks(node) and all_satisfied(constraints, node))


def chosen(slots: Slots, moving: Mapping[Slot, Task], nodes: list[str], most: int) -> list[tuple[Slot, Task]]:
    """Which tasks leave for where there are at least two fewer; of one node those of the highest slots."""
    counts = dict.fromkeys(nodes, 0)
    movable: dict[str, list[tuple[Slot, Task]]] = {node_id: [] for node_id in nodes}
    unplaced = 0
    for slot, tasks in sorted(slots.items()):
        task = moving.get(slot) or wanted(tasks)[0]
        if not task.node_id:
            unplaced += 1
        elif task.node_id in counts:
            counts[task.node_id] += 1
            if slot not in moving:
                movable[task.node_id].append((slot, task))
    found: list[tuple[Slot, Task]] = []
    for _ in range(unplaced if counts else 0):  # the scheduler will put them where there are fewest
        counts[min(counts, key=lambda one: (counts[one], one))] += 1
    while len(found) < most and counts:
        fullest = max(counts, key=lambda one: (counts[one], one))
        emptiest = min(counts, key=lambda one: (counts[one], one))
        if counts[fullest] - counts[emptiest] < 2 or not movable[fullest]:
            break
        found.append(movable[fullest].pop())
        counts[fullest] -= 1
        counts[emptiest] += 1
    return found


def _mover(tasks: tuple[Task, ...]) -> Task | None:
    """The task on its way in, while the one that it replaces still stays."""
    present = {task.id for task in wanted(tasks)}
    return next((task for task in wanted(tasks) if task.replaces in present and not task.state.ended), None)


def _is_still(tasks: tuple[Task, ...]) -> bool:
    live = wanted(tasks)
    return len(live) == 1 and serving(live[0])


def _is_in_vain(new: Task, tasks: tuple[Task, ...]) -> bool:
    """No node takes it, or only the one that the old task is on."""
    old = next(task for task in tasks if task.id == new.replaces)
    return (new.state is TaskState.PENDING and bool(new.status.err)) or (bool(new.node_id) and new.node_id == old.node_id)
