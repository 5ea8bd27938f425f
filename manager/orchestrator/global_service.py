"""Global services: one task on every node that takes tasks and meets the constraints. Pure.

The node is part of the task from the start; the scheduler only checks that it fits. A node that is down keeps its task: if it comes
back, its containers were never restarted. A drained one, or one that no longer meets the constraints, gives its task up.
"""

from cluster.api.constraints import all_satisfied
from cluster.api.objects import Service
from cluster.api.states import TaskState
from manager.orchestrator import slots, update
from manager.orchestrator.enforcer import takes_tasks
from manager.orchestrator.reaper import reap
from manager.orchestrator.replicated import slots_of
from manager.orchestrator.round import Round


def plan(service: Service, round_: Round) -> None:
    by_slot = slots_of(service, round_)
    renewed = set()
    for slot, tasks in by_slot.items():
        if round_.full:
            round_.again.append(service.id)
            return
        if slots.tend(slot, tasks, service, round_):
            renewed.add(slot)
        reap(tasks, service, round_)
    held = {slot for slot, tasks in by_slot.items() if slots.occupied(tasks, round_)}
    for node_id in eligible(service, round_):
        if round_.full:
            round_.again.append(service.id)
            return
        slot = (service.id, 0, node_id)
        if slot not in held:
            round_.create(service, slot, TaskState.RUNNING)
    reachable = {slot: by_slot[slot] for slot in sorted(held) if _up(slot[2], round_)}
    update.plan(service, reachable, renewed, round_)


def eligible(service: Service, round_: Round) -> list[str]:
    """The nodes that shall have a task, in order of their ids."""
    constraints = round_.constraints_of(service)
    return sorted(node.id for node in round_.now.nodes.values() if takes_tasks(node) and all_satisfied(constraints, node))


def _up(node_id: str, round_: Round) -> bool:
    node = round_.now.nodes.get(node_id)
    return node is not None and takes_tasks(node)
