"""Tend one slot: replace what failed or lost its node, start what waited long enough, end what was superseded. Pure.

Whether there should be a slot at all is for the modes (replicated, global, jobs); whether its template should change, for `update`.
"""

from cluster.api.objects import Service, Task
from cluster.api.specs import SECOND
from cluster.api.states import TaskState
from manager.orchestrator import restart
from manager.orchestrator.enforcer import Misfit, leaves_last, may_run
from manager.orchestrator.round import Round, wanted
from manager.orchestrator.soft import starts_first
from manager.store.indexes import Slot

RUN = TaskState.RUNNING
JOB = TaskState.COMPLETE


def occupied(tasks: tuple[Task, ...], round_: Round) -> bool:
    """The slot has a task that shall run, or one that ran to an end that the restart policy accepts."""
    return any(task.desired_state <= TaskState.COMPLETE or final(task, round_) for task in tasks)


def final(task: Task, round_: Round) -> bool:
    """The task ended and shall have no successor. A newer template gives it one all the same, through `update`."""
    if not task.state.ended or task.desired_state is TaskState.REMOVE:
        return False
    policy = restart.policy_of(round_.now.template_of(task).spec)
    return not restart.restarts(policy, task, soft=round_.soft, at=round_.at)


def tend(slot: Slot, tasks: tuple[Task, ...], service: Service, round_: Round, *, goal: TaskState = RUN) -> bool:
    """Says whether the slot was given a new task. `goal` is what its task is wanted to reach: RUNNING, for jobs COMPLETE."""
    if len(tasks) == 1 and _is_settled(tasks[0], service, round_, goal):
        return False
    live: list[Task] = []
    replaced = False
    paused = {one.replaces for one in wanted(tasks) if one.replaces and one.state.ended and _is_held(slot, one, service, round_)}
    leaving = {task.replaces for task in wanted(tasks) if not task.state.ended}
    for task in sorted(
        wanted(tasks), key=lambda one: (one.id in leaving, not round_.clean(one, service), one.state.ended, -one.state, one.id)
    ):
        if task.state.ended and task.replaces in paused:
            continue  # the next try of the move has its time
        why = round_.misfit(task, service)
        if task.id in paused and why is Misfit.UNWELCOME:
            why = None
        if live or replaced:
            if _awaits_successor(task, live, why) or (why is None and _bridges(task, live, service, round_)):
                live.append(task)
            else:
                round_.want(task, TaskState.SHUTDOWN)
        elif task.state.ended:
            replaced = not _is_held(slot, task, service, round_) and _follow(slot, task, service, round_, goal=goal)
        elif why is not None:
            replaced = _displace(slot, tasks, task, service, round_, why=why)
        else:
            live.append(task)
    for task in live:
        _promote(slot, task, tasks, service, round_, goal=goal)
    return replaced


def _is_settled(task: Task, service: Service, round_: Round, goal: TaskState) -> bool:
    """The common case, told quickly: a task that is as it should be, and alone."""
    return (
        task.desired_state is goal
        and not task.state.ended
        and task.template_version == service.template_version
        and round_.misfit(task, service) is None
    )


def _bridges(old: Task, live: list[Task], service: Service, round_: Round) -> bool:
    """A slot has one task, but for a start-first update: there the old one stays until the new one runs.

    `live` holds the new one, unless that was created in this round. Whoever changes the order meanwhile gives the old one up.
    """
    if old.state.ended or round_.clean(old, service) or len(live) > 1 or not starts_first(service):
        return False
    return not live or (round_.clean(live[0], service) and not serving(live[0]))


def _awaits_successor(old: Task, live: list[Task], why: Misfit | None) -> bool:
    """It moves to another node, and stays until its successor there serves."""
    moves = len(live) == 1 and live[0].replaces == old.id and not serving(live[0])
    return moves and why is not Misfit.LOST and not old.state.ended


def serving(task: Task) -> bool:
    return task.state is TaskState.RUNNING and task.status.ready


def _is_held(slot: Slot, task: Task, service: Service, round_: Round) -> bool:
    """A task that was made ready ahead of its start, and could not be: the delay that it waits for is not over for that."""
    return task.desired_state < RUN and round_.clean(task, service) and not _is_due(slot, task, round_)


def _is_due(slot: Slot, task: Task, round_: Round) -> bool:
    """The delay before the task's start is over; if not, the round will be reminded."""
    if not task.start_after:
        return True
    since = round_.soft.waiting_since(task)
    due = (round_.at.monotonic if since is None else since) + task.start_after / SECOND
    if due > round_.at.monotonic:
        round_.wake(due, slot)
        return False
    return True


def _follow(slot: Slot, task: Task, service: Service, round_: Round, *, goal: TaskState) -> bool:
    """A task ended that should not have: the policy says whether and when the next one starts."""
    round_.want(task, TaskState.SHUTDOWN)
    policy = restart.policy_of(service.spec.task_template)
    if not restart.restarts(policy, task, soft=round_.soft, at=round_.at):
        return False
    count, quick = 0, 0
    if round_.clean(task, service):
        count, quick = task.restarts + 1, round_.soft.quick_failures(task, round_.at)
    others = len(round_.now.nodes) - 1 if slot[1] and task.state is TaskState.REJECTED else 0
    # what one node rejects, for want of an image or a path, another may take: each has its turn before the pause grows
    delay = max(restart.delay_of(policy), restart.backoff_of(policy, service.extensions.restart_backoff, quick - others))
    desired = TaskState.READY if delay else goal
    round_.create(service, slot, desired, start_after=delay, restarts=count, quick_failures=quick, iteration=task.job_iteration)
    return True


def _displace(slot: Slot, tasks: tuple[Task, ...], task: Task, service: Service, round_: Round, *, why: Misfit) -> bool:
    """A task must leave its node, or lost it. Slots that belong to a node stay empty until it takes tasks again."""
    of_node = not slot[1]
    if of_node and why is Misfit.LOST and task.node_id in round_.now.nodes and round_.clean(task, service):
        return False  # its containers may well run on; the node's return shall not restart them
    if of_node:
        round_.want(task, TaskState.SHUTDOWN if task.node_id in round_.now.nodes else TaskState.REMOVE)
        return False
    if why is Misfit.UNWELCOME and task.desired_state is RUN and serving(task) and leaves_last(round_.now, task):
        failed = sum(one.replaces == task.id for one in tasks)  # those that did not come to serve
        pause = restart.backoff_of(restart.policy_of(service.spec.task_template), None, failed + 2) if failed else 0
        round_.create(service, slot, TaskState.READY if pause else RUN, start_after=pause, replaces=task.id)
        return True
    round_.want(task, TaskState.SHUTDOWN)
    stops_first = why is Misfit.UNWELCOME and may_run(round_.now, task)
    desired = TaskState.READY if stops_first else task.desired_state
    round_.create(service, slot, desired, start_after=task.start_after, restarts=task.restarts, iteration=task.job_iteration)
    return True


def _promote(slot: Slot, task: Task, tasks: tuple[Task, ...], service: Service, round_: Round, *, goal: TaskState) -> None:
    """A task held at READY starts once its delay is over, what it depends on is there, and nobody in its slot still has to stop."""
    if task.desired_state >= RUN or not _is_due(slot, task, round_) or round_.waits_for(service):
        return
    if not any(other.desired_state > TaskState.COMPLETE and may_run(round_.now, other) for other in tasks):
        round_.want(task, goal)
