"""Start order: whether what a service depends on is there, or what it waits for. Pure.

A service that waits makes its tasks ready and starts none. What runs is never stopped for it: only starts wait, at the first deploy and
after failures alike. Admission refuses cycles; should two requests at a time have made one, its members do not wait for one another.
"""

from cluster.api.objects import Service, Task
from cluster.api.specs import Dependency, Mode, mode_of, replicas_of
from cluster.api.states import Kind, TaskState
from manager.store.snapshot import Snapshot

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"


def unmet(now: Snapshot, service: Service) -> str:
    """What the service's tasks wait for, in words; empty when they may start."""
    for dependency in service.extensions.depends_on:
        other = now.named(Kind.SERVICE, dependency.service)
        if not isinstance(other, Service):
            return f"waiting for service {dependency.service}, which does not exist"
        if reason := _unmet(now, dependency, other):
            return "" if _leads_back(now, other, service) else reason
    return ""


def _unmet(now: Snapshot, dependency: Dependency, other: Service) -> str:
    tasks = [task for task in now.tasks_of(other.id).values() if task.desired_state <= TaskState.COMPLETE]
    condition = dependency.condition or STARTED
    if condition == COMPLETED:
        done, total = completed(now, other)
        return "" if done >= total else f"waiting for service {other.spec.name} to complete ({done} of {total} tasks have)"
    if mode_of(other.spec) is Mode.REPLICATED and not replicas_of(other.spec):
        return ""  # scaled to nothing on purpose
    if condition == HEALTHY:
        word, fit = "to be healthy", sum(task.state is TaskState.RUNNING and task.status.ready for task in tasks)
    else:
        word, fit = "to start", sum(TaskState.STARTING <= task.state <= TaskState.COMPLETE for task in tasks)
    return "" if fit else f"waiting for service {other.spec.name} {word} (0 of {len(tasks)} tasks so far)"


def completed(now: Snapshot, other: Service) -> tuple[int, int]:
    """How many of its tasks ended well, and how many have to. The last task of a slot speaks for it."""
    iteration = 0 if other.job_status is None else other.job_status.job_iteration
    newest: dict[tuple[int, str], Task] = {}
    for task in now.tasks_of(other.id).values():
        slot = (task.slot, "" if task.slot else task.node_id)
        if task.job_iteration == iteration and (slot not in newest or age(newest[slot]) < age(task)):
            newest[slot] = task
    done = sum(task.state is TaskState.COMPLETE for task in newest.values())
    job = other.spec.mode.replicated_job
    if job is not None:
        return done, job.total_completions or job.max_concurrent or 1
    expected = replicas_of(other.spec) if mode_of(other.spec) is Mode.REPLICATED else 1
    return done, max(expected, len(newest))


def age(task: Task) -> tuple[int, int, str]:
    """Orders the tasks of a slot: the last one speaks for it."""
    return (task.created_at, task.restarts, task.id)


def _leads_back(now: Snapshot, start: Service, service: Service) -> bool:
    """`start` depends on the service itself, maybe through others."""
    seen, todo = {start.id}, [start]
    while todo:
        for dependency in todo.pop().extensions.depends_on:
            other = now.named(Kind.SERVICE, dependency.service)
            if not isinstance(other, Service) or other.id in seen:
                continue
            if other.id == service.id:
                return True
            seen.add(other.id)
            todo.append(other)
    return False
