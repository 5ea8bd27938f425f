"""Replicated services: as many slots as there are replicas. Pure.

Down-scaling takes the slots that do not run yet, then those on the nodes that have most of the service, so that the spread stays.
"""

from collections import Counter

from cluster.api.objects import Service, Task
from cluster.api.specs import replicas_of
from cluster.api.states import TaskState
from manager.orchestrator import rebalance, slots, update
from manager.orchestrator.reaper import reap
from manager.orchestrator.round import Round, wanted
from manager.store.indexes import Slot

Slots = dict[Slot, tuple[Task, ...]]


def plan(service: Service, round_: Round) -> None:
    """The service as a whole: count, tend every slot, go on with its update."""
    by_slot = slots_of(service, round_)
    held = {slot for slot, tasks in by_slot.items() if slots.occupied(tasks, round_)}
    surplus = len(held) - replicas_of(service.spec)
    if surplus > 0:
        for slot in victims({slot: by_slot[slot] for slot in held}, surplus):
            for task in by_slot.pop(slot):
                round_.want(task, TaskState.REMOVE)
    renewed = set()
    for slot, tasks in by_slot.items():
        if round_.full:
            round_.again.append(service.id)
            return
        if slots.tend(slot, tasks, service, round_):
            renewed.add(slot)
        reap(tasks, service, round_)
    if surplus < 0:
        _add(-surplus, held, service, round_)
    counted = {slot: by_slot[slot] for slot in sorted(held & by_slot.keys())}
    if not rebalance.plan(service, counted, round_):
        update.plan(service, counted, renewed, round_)


def slots_of(service: Service, round_: Round) -> Slots:
    """In order of their numbers; of one slot, in order of their ids."""
    found: dict[Slot, list[Task]] = {}
    for _, task in sorted(round_.now.tasks_of(service.id).items()):
        found.setdefault((service.id, task.slot, "" if task.slot else task.node_id), []).append(task)
    return {slot: tuple(found[slot]) for slot in sorted(found)}


def victims(held: Slots, surplus: int) -> list[Slot]:
    """Which slots to give up: not running first, then one by one from whichever node has most left; the higher number first."""
    idle = sorted((slot for slot, tasks in held.items() if not _running(tasks)), key=lambda slot: -slot[1])
    chosen = idle[:surplus]
    places: dict[str, list[Slot]] = {}
    for slot, tasks in sorted(held.items()):
        if running := _running(tasks):
            places.setdefault(running[0].node_id, []).append(slot)
    if len(chosen) < surplus:
        left = Counter({node_id: len(there) for node_id, there in places.items()})
        while len(chosen) < surplus and left:
            fullest = min(left, key=lambda node_id: (-left[node_id], -places[node_id][-1][1]))
            chosen.append(places[fullest].pop())
            left[fullest] -= 1
            if not left[fullest]:
                del left[fullest]
    return chosen


def _running(tasks: tuple[Task, ...]) -> list[Task]:
    return [task for task in wanted(tasks) if task.state is TaskState.RUNNING]


def _add(missing: int, held: set[Slot], service: Service, round_: Round) -> None:
    number = 0
    while missing:
        if round_.full:
            round_.again.append(service.id)
            return
        number += 1
        slot = (service.id, number, "")
        if slot not in held:
            round_.create(service, slot, TaskState.RUNNING)
            missing -= 1
