"""Jobs: tasks that are wanted to complete, so many in all (replicated) or one a node (global). Pure.

Each execution has an iteration number, from the service; tasks of earlier ones are removed. A completed task is the record that its
slot is done. What failed is tried again as the restart policy says; when it says no more, the slot stays failed and the job open.
"""

from cluster.api.objects import Service, Task
from cluster.api.states import TaskState
from manager.orchestrator import slots
from manager.orchestrator.global_service import eligible
from manager.orchestrator.reaper import reap
from manager.orchestrator.replicated import Slots, slots_of
from manager.orchestrator.round import Round, wanted

GOAL = TaskState.COMPLETE


def plan_replicated(service: Service, round_: Round) -> None:
    """At most `max_concurrent` at a time until `total_completions` have completed."""
    by_slot = _tend_all(service, round_)
    job = service.spec.mode.replicated_job
    concurrent = (None if job is None else job.max_concurrent) or 1
    total = job.total_completions if job is not None and job.total_completions is not None else concurrent
    used = {slot for slot, tasks in by_slot.items() if completed(tasks) or slots.occupied(tasks, round_)}
    running = sum(1 for slot in used if not completed(by_slot[slot]) and wanted(by_slot[slot]))
    missing = min(concurrent - running, total - len(used))
    number = 0
    while missing > 0:
        if round_.full:
            round_.again.append(service.id)
            return
        number += 1
        slot = (service.id, number, "")
        if slot not in used:
            round_.create(service, slot, GOAL, iteration=iteration_of(service))
            missing -= 1


def plan_global(service: Service, round_: Round) -> None:
    by_slot = _tend_all(service, round_)
    for node_id in eligible(service, round_):
        if round_.full:
            round_.again.append(service.id)
            return
        slot = (service.id, 0, node_id)
        tasks = by_slot.get(slot, ())
        if not completed(tasks) and not slots.occupied(tasks, round_):
            round_.create(service, slot, GOAL, iteration=iteration_of(service))


def tend(tasks: tuple[Task, ...], service: Service, round_: Round) -> tuple[Task, ...]:
    """Tend one slot of a job; returns its tasks of this iteration."""
    iteration = iteration_of(service)
    for task in tasks:
        if task.job_iteration != iteration:
            round_.want(task, TaskState.REMOVE)
    current = tuple(task for task in tasks if task.job_iteration == iteration)
    if completed(current):
        for task in wanted(current):
            if not task.state.ended:
                round_.want(task, TaskState.SHUTDOWN)
    elif current:
        first = current[0]
        slots.tend((service.id, first.slot, "" if first.slot else first.node_id), current, service, round_, goal=GOAL)
    reap(tasks, service, round_)
    return current


def completed(tasks: tuple[Task, ...]) -> bool:
    """Its task ran to its end and was wanted to."""
    return any(task.state is TaskState.COMPLETE and task.desired_state <= GOAL for task in tasks)


def iteration_of(service: Service) -> int:
    return 0 if service.job_status is None else service.job_status.job_iteration


def _tend_all(service: Service, round_: Round) -> Slots:
    return {slot: current for slot, tasks in slots_of(service, round_).items() if (current := tend(tasks, service, round_))}
