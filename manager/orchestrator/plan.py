"""3 WANT: how many tasks each service should have, and which ones. Pure; see docs/design/orchestration.md.

A round looks at keys: services as a whole, or single slots of them. Which keys a change of the store concerns says `affected`.
"""

from collections.abc import Iterable

from msgspec import Struct

from cluster.api.changes import Change
from cluster.api.ids import DrawId, Id
from cluster.api.objects import Service, Task
from cluster.api.specs import Mode, mode_of
from cluster.api.states import TaskState
from manager.orchestrator import global_service, jobs, replicated, slots
from manager.orchestrator.reaper import reap
from manager.orchestrator.round import CHANGES_A_ROUND, LOOKS_A_ROUND, Key, Round
from manager.orchestrator.soft import Moment, Soft, rebalances, updating
from manager.store.indexes import Slot, slot_of
from manager.store.snapshot import Changes, Snapshot


class Wanted(Struct, frozen=True, kw_only=True, gc=False):
    """What a round came to."""

    changes: list[Change]
    alarms: list[tuple[float, Key]]
    """Look at the key again at that monotonic time."""
    again: list[Key]
    """Keys that the round did not finish: another round, on the next snapshot."""


def plan(
    now: Snapshot, *, at: Moment, soft: Soft, draw_id: DrawId, keys: Iterable[Key] | None = None, limit: int = CHANGES_A_ROUND
) -> Wanted:
    """What must change for these keys (for every service, when none are named) to be as their specs say."""
    round_ = Round(now, at=at, soft=soft, draw_id=draw_id, limit=limit)
    chosen = dict.fromkeys(everything(now) if keys is None else keys)
    for key in chosen:
        if not isinstance(key, str) and key[0] in chosen:
            continue  # its service is looked at as a whole, before or after: twice would change the same task twice, and be refused
        if round_.full or round_.looks >= LOOKS_A_ROUND:
            round_.again.append(key)
        elif isinstance(key, str):
            round_.looks += 1 + len(now.tasks_of(key))
            _look_at_service(key, round_)
        elif key[0] not in round_.again:
            _look_at_slot(key, round_)
    return Wanted(changes=round_.changes, alarms=round_.alarms, again=round_.again)


def everything(now: Snapshot) -> list[Key]:
    """Every service, those of which only tasks are left too: the sweep."""
    return [*sorted({*now.services, *now.indexes.by_service})]


def affected(now: Snapshot, before: Snapshot, changes: Changes | None) -> list[Key]:
    """The keys that what happened between two snapshots concerns; services before their slots."""
    if changes is None:
        return everything(now)
    services: set[Id] = set(changes.services)
    for service_id in changes.services:
        service = now.services.get(service_id) or before.services.get(service_id)
        if service is not None:
            services.update(now.dependents_of(service.spec.name))
    found: set[Slot] = set()
    for task_id in changes.tasks:
        task = now.tasks.get(task_id) or before.tasks.get(task_id)
        if task is not None:
            _concern(task, task_id in now.tasks, now, services, found)
    for node_id in changes.nodes:
        for task in now.tasks_on(node_id).values():
            _concern(task, True, now, services, found)
    if changes.nodes:
        services.update(service.id for service in now.services.values() if _follows_nodes(now, service))
    return [*sorted(services), *sorted(slot for slot in found if slot[0] not in services)]


def _follows_nodes(now: Snapshot, service: Service) -> bool:
    return mode_of(service.spec) in (Mode.GLOBAL, Mode.GLOBAL_JOB) or service.rebalance is not None or bool(rebalances(now, service))


def _concern(task: Task, present: bool, now: Snapshot, services: set[Id], found: set[Slot]) -> None:
    """A slot's own affairs are settled in the slot; what is counted over slots, in the service."""
    service = now.services.get(task.service_id)
    if service is None:  # each task of a gone service is ended by itself: looking at all of them for each would be quadratic
        found.add(slot_of(task))
        return
    services.update(now.dependents_of(service.spec.name))
    counted = not present or _is_counted(service)
    if counted:
        services.add(task.service_id)
    else:
        found.add(slot_of(task))


def _is_counted(service: Service) -> bool:
    """What becomes of one slot may concern the others."""
    return updating(service) or service.rebalance is not None or mode_of(service.spec) in (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB)


def _look_at_service(service_id: Id, round_: Round) -> None:
    service = round_.now.services.get(service_id)
    if service is None:
        _clear(service_id, round_)
        return
    match mode_of(service.spec):
        case Mode.REPLICATED:
            replicated.plan(service, round_)
        case Mode.GLOBAL:
            global_service.plan(service, round_)
        case Mode.REPLICATED_JOB:
            jobs.plan_replicated(service, round_)
        case Mode.GLOBAL_JOB:
            jobs.plan_global(service, round_)


def _look_at_slot(slot: Slot, round_: Round) -> None:
    service = round_.now.services.get(slot[0])
    tasks = round_.now.tasks_of_slot(*slot)
    round_.looks += len(tasks)
    if service is None:
        _end(tasks, round_)
    elif mode_of(service.spec) in (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB):
        jobs.tend(tasks, service, round_)
    else:
        slots.tend(slot, tasks, service, round_)
        reap(tasks, service, round_)


def _clear(service_id: Id, round_: Round) -> None:
    """The service is gone: so shall be its tasks, once they have stopped."""
    tasks = sorted(round_.now.tasks_of(service_id).items())
    for _, task in tasks:
        if round_.full:
            round_.again.append(service_id)
            return
        _end((task,), round_)


def _end(tasks: Iterable[Task], round_: Round) -> None:
    for task in tasks:
        if task.desired_state is TaskState.REMOVE:
            reap((task,), None, round_)
        else:
            round_.want(task, TaskState.REMOVE)
