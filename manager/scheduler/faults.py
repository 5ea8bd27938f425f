"""Where tasks of a service failed lately: soft state of the leader, on its own clock. A node that keeps failing a service comes last."""

from collections.abc import Iterable

from cluster.api.ids import Id
from cluster.api.states import TaskState
from manager.store.snapshot import Snapshot

WINDOW_SECONDS = 300.0


class FaultLog:
    def __init__(self) -> None:
        self._failed: dict[Id, tuple[float, Id, Id]] = {}
        """task -> when, service, node; in order of time."""

    def observe(self, now: Snapshot, tasks: Iterable[Id], at: float) -> None:
        """Note the failures among tasks that changed."""
        for task_id in tasks:
            task = now.tasks.get(task_id)
            if task is not None and task.node_id and task.state in (TaskState.FAILED, TaskState.REJECTED):
                self._failed.setdefault(task_id, (at, task.service_id, task.node_id))

    def recent(self, at: float) -> dict[Id, dict[Id, int]]:
        """service -> node -> failures within the window."""
        while self._failed and (oldest := next(iter(self._failed.items())))[1][0] <= at - WINDOW_SECONDS:
            del self._failed[oldest[0]]
        counts: dict[Id, dict[Id, int]] = {}
        for _, service_id, node_id in self._failed.values():
            of_service = counts.setdefault(service_id, {})
            of_service[node_id] = of_service.get(node_id, 0) + 1
        return counts
