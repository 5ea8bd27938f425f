"""What only the leader's own clock knows: since when tasks wait, run or have failed. Lost with the leader, never missed by much.

Plans read it; `Soft.observe` is fed by the loop with every task that changed. After a change of leader it starts empty: delays start
anew, clipped to their length, and nothing else depends on it.
"""

from collections.abc import Iterable

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Service, Task
from cluster.api.specs import SECOND, Mode, UpdateConfig, mode_of
from cluster.api.states import TaskState, UpdateState
from manager.store.indexes import Slot, slot_of
from manager.store.snapshot import Snapshot

MONITOR = 5 * SECOND
"""How long after its start a task's failure still counts against the update, unless the update config says otherwise."""

QUICK = 10.0
"""Seconds; a task that ends sooner after its start has failed quickly: so many in a row are a crash loop."""

REBALANCE = "io.shoal.rebalance"
"""A label of the cluster: the policy of all services that have none of their own."""

START_FIRST = "start-first"

IN_PROGRESS = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
FAILURES = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)


class Moment(Struct, frozen=True, kw_only=True, gc=False):
    monotonic: float
    """Seconds; what decides."""
    wall: int = 0
    """ns; what is shown."""


class Progress(Struct, kw_only=True):
    """How far the update of one service to one template is."""

    template_version: int
    settled: dict[Slot, float] = {}
    """When the slot's new task ran, or failed, for the first time."""
    failed: dict[Slot, Id] = {}
    """Slots whose new task failed while it was monitored, with that task."""


class Soft:
    def __init__(self, *, since: float) -> None:
        self.since = since
        """When this leader began to watch: what happened before counts as having happened then."""
        self._waiting: dict[Id, float] = {}
        self._restarted: dict[Slot, dict[int, float]] = {}
        self._progress: dict[Id, Progress] = {}
        self._ran: dict[Id, float | None] = {}
        """Since when a task that shall run does; None before."""
        self.to_rebalance: frozenset[Id] = frozenset()
        """Services that want to use a node that joined, until a round has looked at them."""

    # -- read by plans -------------------------------------------------------------------------------------------------------------
    def waiting_since(self, task: Task) -> float | None:
        return self._waiting.get(task.id)

    def restarts_within(self, slot: Slot, window: int, at: Moment) -> int:
        """How many restarts of the slot the last `window` ns saw."""
        return sum(1 for when in self._restarted.get(slot, {}).values() if (at.monotonic - when) * SECOND < window)

    def quick_failures(self, task: Task, at: Moment) -> int:
        """How many tasks in a row, this ended one included, ended soon after their start, or never came to it."""
        if task.state is TaskState.REJECTED:
            return task.quick_failures + 1
        ran = self._ran.get(task.id, self.since)
        return task.quick_failures + 1 if ran is None or at.monotonic - ran < QUICK else 0

    def progress_of(self, service: Service) -> Progress:
        known = self._progress.get(service.id)
        return known if known is not None and known.template_version == service.template_version else _unseen(service)

    # -- fed by the loop -----------------------------------------------------------------------------------------------------------
    def observe(self, now: Snapshot, tasks: Iterable[Id], at: Moment) -> None:
        """Note the time of what is new about these tasks."""
        for task_id in tasks:
            task = now.tasks.get(task_id)
            if task is None or task.desired_state > TaskState.READY:
                self._waiting.pop(task_id, None)
            elif task.start_after:
                self._waiting.setdefault(task_id, at.monotonic)
            if task is not None and not task.state.ended and task.desired_state > TaskState.READY:
                if task.state is TaskState.RUNNING and self._ran.get(task_id) is None:
                    self._ran[task_id] = at.monotonic
                else:
                    self._ran.setdefault(task_id, None)
            if task is not None:
                self._note_restart(now, task, at)
                self._note_progress(now, task, at)

    def forget(self, now: Snapshot) -> None:
        """Drop what belongs to things that are gone; part of the sweep."""
        self._waiting = {task_id: when for task_id, when in self._waiting.items() if task_id in now.tasks}
        self._ran = {task_id: when for task_id, when in self._ran.items() if task_id in now.tasks}
        self._restarted = {slot: when for slot, when in self._restarted.items() if slot[0] in now.services}
        self._progress = {
            service_id: progress
            for service_id, progress in self._progress.items()
            if (service := now.services.get(service_id)) is not None and updating(service)
        }

    def note_joined(self, now: Snapshot) -> None:
        """A node takes tasks that did not."""
        self.to_rebalance |= {service.id for service in now.services.values() if rebalances(now, service)}

    def looked_at(self, services: Iterable[Id]) -> None:
        if self.to_rebalance:
            self.to_rebalance -= frozenset(services)

    def _note_restart(self, now: Snapshot, task: Task, at: Moment) -> None:
        """A fresh task with n restarts behind it is the nth restart; noted only where the policy has a window to count them in."""
        if not task.restarts or task.state is not TaskState.NEW:
            return
        policy = now.template_of(task).spec.restart_policy
        if policy is None or not policy.window or not policy.max_attempts:
            return
        slot = slot_of(task)
        recent = {nth: when for nth, when in self._restarted.get(slot, {}).items() if (at.monotonic - when) * SECOND < policy.window}
        self._restarted[slot] = {task.restarts: at.monotonic} | recent

    def _note_progress(self, now: Snapshot, task: Task, at: Moment) -> None:
        service = now.services.get(task.service_id)
        if service is None or task.template_version != service.template_version or not updating(service):
            return
        progress = self.progress_of(service)
        self._progress[service.id] = progress
        slot = slot_of(task)
        if task.state is TaskState.RUNNING:
            progress.settled.setdefault(slot, at.monotonic)
        elif task.state in FAILURES and slot not in progress.failed:
            began = progress.settled.setdefault(slot, at.monotonic)
            if (at.monotonic - began) * SECOND <= monitor_of(service):
                progress.failed[slot] = task.id


def rebalances(now: Snapshot, service: Service) -> int:
    """How many tasks at a time may move to a node that joins: the service's own wish, else the cluster's, as a label; 0 for none."""
    if service.extensions.rebalance or now.cluster is None or mode_of(service.spec) is not Mode.REPLICATED:
        return service.extensions.rebalance
    label = now.cluster.spec.labels.get(REBALANCE, "")
    return int(label) if label.isascii() and label.isdigit() else 0


def _unseen(service: Service) -> Progress:
    return Progress(template_version=service.template_version)


def updating(service: Service) -> bool:
    return service.update_status is not None and service.update_status.state in IN_PROGRESS


def rolling_back(service: Service) -> bool:
    return service.update_status is not None and service.update_status.state in (
        UpdateState.ROLLBACK_STARTED,
        UpdateState.ROLLBACK_PAUSED,
    )


def config_of(service: Service) -> UpdateConfig:
    """The rules that hold now: a roll-back has its own."""
    config = service.spec.rollback_config if rolling_back(service) else service.spec.update_config
    return UpdateConfig(parallelism=1) if config is None else config


def starts_first(service: Service) -> bool:
    """An update keeps the old task of a slot until the new one serves."""
    return config_of(service).order == START_FIRST


def monitor_of(service: Service) -> int:
    monitor = config_of(service).monitor
    return MONITOR if monitor is None else monitor
