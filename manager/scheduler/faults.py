"""Where tasks of a service failed lately: soft state of the leader, on its own clock. A node that keeps failing a service comes last.

What a node rejected it could not even make ready, for want of an image or a path: that counts as several failures, so that the next try
is on another node.
"""

from collections.abc import Iterable

from cluster.api.ids import Id
from cluster.api.states import TaskState
from manager.scheduler.spread import FAILURES
from manager.store.indexes import TemplateKey
from manager.store.snapshot import Snapshot

WINDOW_SECONDS = 300.0


class FaultLog:
    def __init__(self) -> None:
        self._failed: dict[Id, tuple[float, TemplateKey, Id, int]] = {}
        """task -> when, template, node, weight; in order of time."""

    def observe(self, now: Snapshot, tasks: Iterable[Id], at: float) -> None:
        """Note the failures among tasks that changed."""
        for task_id in tasks:
            task = now.tasks.get(task_id)
            if task is not None and task.node_id and task.state in (TaskState.FAILED, TaskState.REJECTED):
                weight = FAILURES if task.state is TaskState.REJECTED else 1
                self._failed.setdefault(task_id, (at, (task.service_id, task.template_version), task.node_id, weight))

    def recent(self, at: float) -> dict[TemplateKey, dict[Id, int]]:
        """template -> node -> failures within the window."""
        while self._failed and (oldest := next(iter(self._failed.items())))[1][0] <= at - WINDOW_SECONDS:
            del self._failed[oldest[0]]
        counts: dict[TemplateKey, dict[Id, int]] = {}
        for _, template, node_id, weight in self._failed.values():
            there = counts.setdefault(template, {})
            there[node_id] = there.get(node_id, 0) + weight
        return counts
