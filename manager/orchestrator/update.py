"""Rolling updates: bring every slot to the present template, so many at a time, and stop or go back when the new one fails. Pure.

Which slots are done is read from the tasks themselves, so a leader that takes over goes on where the last one was; only the clocks
(the delay between slots, the monitoring of new tasks) start anew. The words of `UpdateStatus` are Docker's.
"""

from collections.abc import Mapping, Set

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.objects import Service, Task, UpdateStatus
from cluster.api.specs import SECOND
from cluster.api.states import TaskState, UpdateState
from manager.orchestrator.round import Round, wanted
from manager.orchestrator.slots import final, serving
from manager.orchestrator.soft import Progress, config_of, monitor_of, rolling_back, starts_first, updating
from manager.store.indexes import Slot

Slots = Mapping[Slot, tuple[Task, ...]]

PAUSE, CONTINUE, ROLLBACK = "pause", "continue", "rollback"

ENDED = (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED)
PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


class Standing(Struct, kw_only=True):
    """Where the slots are: not begun, begun but not yet running, running for less than the delay; and when the next clock rings."""

    dirty: list[Slot] = []
    busy: int = 0
    resting: int = 0
    monitored: bool = False
    next_at: float | None = None


def plan(service: Service, slots: Slots, renewed: Set[Slot], round_: Round) -> None:
    """`slots`: those that count; `renewed`: those that got a new task in this very round, for another reason."""
    status = service.update_status
    if status is not None and status.state in PAUSED:
        return
    if status is None or status.state in ENDED:
        if not any(_is_dirty(task, service, round_) for tasks in slots.values() for task in tasks):
            return
        status = UpdateStatus(state=UpdateState.UPDATING, message="update in progress")
    standing = survey(service, slots, renewed, round_)
    if not standing.dirty and not updating(service):
        return
    progress = round_.soft.progress_of(service)
    if updating(service) and _too_many_failed(service, progress, len(slots)) and (after := _give_up(service, progress)) is not None:
        round_.put_service(after)
        return
    _renew(service, slots, standing, round_)
    if standing.next_at is not None:
        round_.wake(standing.next_at, service.id)
    if not standing.dirty and not standing.busy and not standing.monitored and not renewed:
        status = _completed(service, round_)
    if status != service.update_status:
        round_.put_service(replace(service, update_status=status))


def survey(service: Service, slots: Slots, renewed: Set[Slot], round_: Round) -> Standing:
    """Where each slot is in the update. Slots that have not a running task come first: they have least to lose."""
    progress = round_.soft.progress_of(service)
    config = config_of(service)
    delay, monitor = config.delay / SECOND, monitor_of(service) / SECOND
    standing = Standing()
    idle: list[Slot] = []
    running: list[Slot] = []
    for slot, tasks in slots.items():
        if slot in renewed:
            standing.busy += 1
            continue
        present = wanted(tasks) or [task for task in tasks if final(task, round_)]
        new = [task for task in present if round_.clean(task, service)]
        if not new:
            (running if any(serving(task) for task in present) else idle).append(slot)
        elif slot not in progress.failed and not _done(new, present):
            standing.busy += 1
        elif updating(service):
            settled = progress.settled.get(slot, round_.soft.since)
            standing.resting += _ticks(settled + delay, standing, round_)
            standing.monitored |= _ticks(settled + monitor, standing, round_)
    standing.dirty = idle + running
    return standing


def _is_dirty(task: Task, service: Service, round_: Round) -> bool:
    """May be one that has to be updated: wanted or at its end, and of another template."""
    return task.desired_state is not TaskState.REMOVE and not round_.clean(task, service)


def _done(new: list[Task], present: list[Task]) -> bool:
    """The new task serves, or ended as it may, and the old one was told to stop."""
    return len(new) == len(present) and any(serving(task) or task.state.ended for task in new)


def _ticks(until: float, standing: Standing, round_: Round) -> bool:
    """That time has not come yet; remember the nearest such."""
    if until <= round_.at.monotonic:
        return False
    standing.next_at = until if standing.next_at is None else min(standing.next_at, until)
    return True


def _renew(service: Service, slots: Slots, standing: Standing, round_: Round) -> None:
    config = config_of(service)
    capacity = len(slots) if config.parallelism <= 0 else config.parallelism - standing.busy - standing.resting
    for slot in standing.dirty[: max(0, capacity)]:
        if round_.full:
            round_.again.append(service.id)
            return
        if starts_first(service):
            _start_first(slot, slots[slot], service, round_)
        else:
            _stop_first(slot, slots[slot], service, round_)


def _stop_first(slot: Slot, tasks: tuple[Task, ...], service: Service, round_: Round) -> None:
    """The new task is made ready beside the old one, and starts once that has stopped (`slots.tend` says when)."""
    for task in wanted(tasks):
        round_.want(task, TaskState.SHUTDOWN)
    round_.create(service, slot, TaskState.READY)


def _start_first(slot: Slot, tasks: tuple[Task, ...], service: Service, round_: Round) -> None:
    """The old task stops once the new one serves (`slots.tend` says when)."""
    for task in wanted(tasks):
        if not serving(task):
            round_.want(task, TaskState.SHUTDOWN)
    round_.create(service, slot, TaskState.RUNNING)


# -- how it ends -------------------------------------------------------------------------------------------------------------------------
def _too_many_failed(service: Service, progress: Progress, total: int) -> bool:
    return bool(progress.failed) and len(progress.failed) / max(total, 1) > config_of(service).max_failure_ratio


def _give_up(service: Service, progress: Progress) -> Service | None:
    """The service with the update paused or turned round; None to carry on."""
    action = config_of(service).failure_action or PAUSE
    if action == CONTINUE:
        return None
    because = f"due to failure or early termination of task {min(progress.failed.values())}"
    if rolling_back(service):
        return _with_status(service, UpdateState.ROLLBACK_PAUSED, f"rollback paused {because}")
    if action == ROLLBACK and service.previous_spec is not None:
        back = _with_status(service, UpdateState.ROLLBACK_STARTED, f"update rolled back {because}")
        extensions = service.previous_extensions or service.extensions
        return replace(back, spec=service.previous_spec, extensions=extensions, previous_spec=None, previous_extensions=None)
    return _with_status(service, UpdateState.PAUSED, f"update paused {because}")


def _with_status(service: Service, state: UpdateState, message: str) -> Service:
    started = 0 if service.update_status is None or state is UpdateState.ROLLBACK_STARTED else service.update_status.started_at
    return replace(service, update_status=UpdateStatus(state=state, message=message, started_at=started))


def _completed(service: Service, round_: Round) -> UpdateStatus:
    started = 0 if service.update_status is None else service.update_status.started_at
    if rolling_back(service):
        state, message = UpdateState.ROLLBACK_COMPLETED, "rollback completed"
    else:
        state, message = UpdateState.COMPLETED, "update completed"
    return UpdateStatus(state=state, message=message, started_at=started, completed_at=round_.at.wall)
