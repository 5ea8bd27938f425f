"""Why is it not as it should be? What each stage of the pipeline knows of a task or a service, in words. Pure.

Each stage explains itself (the scheduler its filters, the allocator its pools, the orchestrator what it waits for); this only puts
together what concerns one task or service, and decides nothing.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Node, Service, Task
from cluster.api.specs import SECOND, Mode, mode_of, replicas_of
from cluster.api.states import Availability, NodeState, TaskState, UpdateState
from manager.allocator.addresses import pool_of
from manager.allocator.desk import attached
from manager.orchestrator import restart
from manager.orchestrator.dependencies import age, completed, unmet
from manager.orchestrator.soft import starts_first, updating
from manager.scheduler.explain import Refusal, refusals, refusals_over
from manager.store.snapshot import Snapshot

TASKS_SHOWN = 50
NODES_SHOWN = 100
_JOBS = (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB)
_LEAVES = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)
"""Ends about which the restart policy is asked."""
_FAILED = (TaskState.FAILED, TaskState.REJECTED, TaskState.ORPHANED)


class TaskWhy(Struct, frozen=True, kw_only=True, gc=False):
    task: Task
    name: str
    reasons: tuple[str, ...]
    nodes: tuple[Refusal, ...] = ()


class ServiceWhy(Struct, frozen=True, kw_only=True, gc=False):
    service: Service
    running: int
    desired: int
    completed: int | None
    """Of a job, whose desired tasks are all that have to complete."""
    reasons: tuple[str, ...]
    tasks: tuple[TaskWhy, ...]
    """Those that are not as they should be, and of each slot that failed its last failure."""


def of_service(now: Snapshot, service: Service) -> ServiceWhy:
    tasks = sorted(now.tasks_of(service.id).values(), key=lambda task: (task.slot, task.node_id, task.created_at, task.id))
    present = [task for task in tasks if task.desired_state <= TaskState.COMPLETE]
    fit = [task for task in present if task.state is TaskState.RUNNING and task.status.ready and not _is_away(now, task)]
    good = {task.id for task in present if task.state is TaskState.COMPLETE} | {task.id for task in fit}
    last = {_place(task): task for task in tasks}
    failures = {_place(task): task for task in tasks if task.state in _FAILED}
    shown = [task for task in present if task.id not in good]
    shown += [task for task in failures.values() if task not in shown]
    shown += [task for task in last.values() if task.state is TaskState.COMPLETE and left_ended(now, task)]
    done, total = completed(now, service) if mode_of(service.spec) in _JOBS else (None, _desired(service, present))
    return ServiceWhy(
        service=service,
        running=len(fit),
        desired=total,
        completed=done,
        reasons=tuple(_of_service(now, service, waits=len(good) < len(present) or not present)),
        tasks=tuple(of_task(now, task) for task in shown[:TASKS_SHOWN]),
    )


def of_task(now: Snapshot, task: Task) -> TaskWhy:
    template = now.template_of(task)
    waits = task.state is TaskState.PENDING and task.desired_state <= TaskState.COMPLETE
    return TaskWhy(
        task=task,
        name=f"{template.service_name}.{task.slot or task.node_id}",
        reasons=tuple(_of_task(now, task)),
        nodes=tuple(refusals(now, task)[:NODES_SHOWN]) if waits else (),
    )


def _desired(service: Service, present: Iterable[Task]) -> int:
    return replicas_of(service.spec) if mode_of(service.spec) is Mode.REPLICATED else len(list(present))


# -- services ----------------------------------------------------------------------------------------------------------------------------
def _of_service(now: Snapshot, service: Service, *, waits: bool) -> Iterator[str]:
    status = service.update_status
    if status is not None and status.state not in (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED):
        said = "; ".join(filter(None, (status.message, short_of_room(now, service))))
        yield f"update: {status.state.value.replace('_', ' ')}: {said}"
    if service.pending_reason:
        yield f"network: {service.pending_reason}"
    if reason := unmet(now, service):
        yield f"start order: {reason if waits else f'what starts from now on is {reason}'}"
    if service.rebalance is not None:
        yield f"rebalance: under way, {service.rebalance.at_once} at a time, at most {service.rebalance.left} more moves"
    for target in attached(service.spec.task_template, service.spec.networks):
        network = now.networks.get(target.target)
        if network is None:
            yield f"network: {target.target} does not exist"
        elif network.pending_reason:
            yield f"network: {network.spec.name}: {network.pending_reason}"
        elif (pool := pool_of(network, now.addresses(network.id))) is not None:
            yield f"addresses: network {network.spec.name} ({network.subnet}) has {pool.used} of {pool.usable} in use"
    yield from _on_nodes(now, f" of service {service.spec.name} is ")


def _on_nodes(now: Snapshot, about: str) -> Iterator[str]:
    """What the nodes say that has these words: another program has a port of the service there."""
    for node in sorted(now.nodes.values(), key=lambda node: _called(node, node.id)):
        if node.status.state is NodeState.READY:
            yield from (f"node {_called(node, node.id)}: {said}" for said in node.description.trouble if about in said)


def short_of_room(now: Snapshot, service: Service) -> str:
    """What a start-first update cannot go on for: the new task needs what only its predecessor could give up. Empty if it goes on."""
    if not updating(service) or not starts_first(service):
        return ""
    found = {task.id: texts for task, old in _side_by_side(now, service) if (texts := refusals_over(now, task, old))}
    if not found:
        return ""
    example = "; ".join(found[min(found)])
    what = "1 new task has" if len(found) == 1 else f"{len(found)} new tasks have"
    return (
        f"{what} no room beside the old, which start-first keeps until the new one serves ({example}); make room on another node, "
        f"or let the old go first: service update --update-order stop-first {service.spec.name}"
    )


def _side_by_side(now: Snapshot, service: Service) -> Iterator[tuple[Task, Task]]:
    """Each task that no node takes, with those that serve in its slot meanwhile."""
    for task in now.tasks_of(service.id).values():
        if task.state is TaskState.PENDING and task.status.err and task.desired_state <= TaskState.COMPLETE:
            for old in now.tasks_of_slot(service.id, task.slot, "" if task.slot else task.node_id):
                if old.id != task.id and old.desired_state <= TaskState.COMPLETE:
                    yield task, old


# -- tasks -------------------------------------------------------------------------------------------------------------------------------
def _of_task(now: Snapshot, task: Task) -> Iterator[str]:
    if task.state.ended:
        yield _end_of(task)
        yield from filter(None, [_next_try(task) or left_ended(now, task)])
        return
    node = now.nodes.get(task.node_id)
    if task.node_id and (node is None or node.status.state is NodeState.DOWN):
        yield f"node: {_called(node, task.node_id)} is {'gone' if node is None else 'down'}; what runs there is not known"
    if task.desired_state > TaskState.COMPLETE:
        yield f"it shall stop, and is {task.state.wire} still{_on(node)}"
        return
    if held := held_back(now, task) or _is_next(now, task):
        yield held
    if task.state < TaskState.ASSIGNED:
        yield task.status.err or _early(now, task)
    elif task.state < TaskState.RUNNING:
        yield f"{task.state.wire}{_on(node)}: {task.status.err or _stage(now, task) or 'no word from there yet'}"
    elif not task.status.ready:
        yield f"running{_on(node)}, but not ready for traffic: {task.status.err or 'it does not listen yet'}"
    else:
        yield f"running{_on(node)}"
    if task.replaces in now.tasks and now.tasks[task.replaces].desired_state <= TaskState.COMPLETE:
        yield f"task {task.replaces} stops once this one serves"


def _stage(now: Snapshot, task: Task) -> str:
    """What its node said last; one that is started for good is held up by its health check alone."""
    container = now.template_of(task).spec.container_spec
    health = None if container is None else container.healthcheck
    if task.state is TaskState.STARTING and health is not None and health.test and health.test[0] != "NONE":
        return f"{task.status.message}, and running once its health check passes"
    return task.status.message


def _next_try(task: Task) -> str:
    """When, if the task failed while it was made ready: its turn is the next one's."""
    if task.desired_state is not TaskState.READY or not task.start_after:
        return ""
    return f"{_pause(task)}: tried again {_seconds(task.start_after)} after it was created"


def reason_of(now: Snapshot, task: Task) -> str:
    """The one thing that keeps a task from being as it should be, or sends it away, in a line; empty for one that just goes its way."""
    if task.status.err:
        return task.status.err
    node, service = now.nodes.get(task.node_id), now.services.get(task.service_id)
    if not task.state.ended and task.node_id and (node is None or node.status.state is NodeState.DOWN):
        return f"node {_called(node, task.node_id)} is {'gone' if node is None else 'down'}"
    if not task.state.ended and task.desired_state > TaskState.COMPLETE:
        drained = node is not None and node.spec.availability is Availability.DRAIN
        return f"node {_called(node, task.node_id)} is drained" if drained else ""
    if task.state is TaskState.NEW and service is not None and service.pending_reason:
        return service.pending_reason
    return held_back(now, task)


def held_back(now: Snapshot, task: Task) -> str:
    """Why a task is kept from starting for long; empty for one that is not, or only waits for its turn."""
    if task.state.ended or task.desired_state is not TaskState.READY:
        return ""
    service = now.services.get(task.service_id)
    if service is not None and (reason := unmet(now, service)):
        return reason
    if task.start_after and task.quick_failures >= restart.PATIENCE:
        return f"{_pause(task)}: starts {_seconds(task.start_after)} after it was created"
    return ""


def _pause(task: Task) -> str:
    quick = task.quick_failures
    return f"back-off after {quick} quick failures in a row" if quick >= restart.PATIENCE else "restart delay"


def _is_next(now: Snapshot, task: Task) -> str:
    """The usual reasons for being made ready ahead of the start."""
    if task.desired_state is not TaskState.READY:
        return ""
    if task.start_after:
        return f"{_pause(task)}: starts {_seconds(task.start_after)} after it was created"
    others = now.tasks_of_slot(task.service_id, task.slot, "" if task.slot else task.node_id)
    if any(other.desired_state > TaskState.COMPLETE and not other.state.ended and other.id != task.id for other in others):
        return "waiting for the task before it to stop"
    return ""


def _early(now: Snapshot, task: Task) -> str:
    service = now.services.get(task.service_id)
    if service is not None and service.pending_reason:
        return service.pending_reason
    stage = "the allocator has not come to it yet" if task.state is TaskState.NEW else "the scheduler has not come to it yet"
    return f"{task.state.wire}: {stage}"


def _end_of(task: Task) -> str:
    code = 0 if task.status.container is None else task.status.container.exit_code
    said = task.status.err or task.status.message
    exit_code = f" with exit code {code}" if code else ""
    return f"{task.state.wire}{exit_code}" + (f": {said}" if said else "")


def left_ended(now: Snapshot, task: Task) -> str:
    """Why the slot of an ended task stays empty: its restart policy wants no other. Empty if that is not so."""
    others = now.tasks_of_slot(task.service_id, task.slot, "" if task.slot else task.node_id)
    if task.state not in _LEAVES or any(other.desired_state <= TaskState.COMPLETE or age(task) < age(other) for other in others):
        return ""
    policy = restart.policy_of(now.template_of(task).spec)
    if policy.condition == restart.NONE or (policy.condition == restart.ON_FAILURE and task.state is TaskState.COMPLETE):
        return f"not started again: the restart condition is {policy.condition}"
    if policy.max_attempts:
        within = f" within {_seconds(policy.window)}" if policy.window else ""
        return f"not started again: the restart policy's attempts are used up ({policy.max_attempts}{within})"
    return ""


def _place(task: Task) -> tuple[int, str]:
    return (task.slot, "" if task.slot else task.node_id)


def _is_away(now: Snapshot, task: Task) -> bool:
    node = now.nodes.get(task.node_id)
    return node is None or node.status.state is NodeState.DOWN


def _on(node: Node | None) -> str:
    if node is None:
        return ""
    drained = ", which is drained" if node.spec.availability is Availability.DRAIN else ""
    return f" on {_called(node, node.id)}{drained}"


def _called(node: Node | None, node_id: Id) -> str:
    return node_id if node is None else node.spec.name or node.description.hostname or node.id


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / SECOND:g}s"
