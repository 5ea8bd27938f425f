"""9 OBSERVED: what nodes report of their tasks, gathered into proposals. Pure.

A node speaks for its own tasks only, and only forward. What changes nothing is acknowledged without being written.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from cluster.api.changes import Change, TaskChange
from cluster.api.ids import Id
from cluster.api.objects import TaskStatus
from cluster.api.states import TaskState
from manager.store.snapshot import Snapshot

BATCH = 500
LONGEST_TEXT = 4096
"""Characters of an engine's message that are kept."""


class Reports:
    """The latest status of each task that is not yet in the store, by who reported it."""

    def __init__(self) -> None:
        self._latest: dict[Id, tuple[Id, TaskStatus]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, node_id: Id, task_id: Id, status: TaskStatus) -> None:
        self._latest[task_id] = (node_id, status)

    def take(self) -> dict[Id, tuple[Id, TaskStatus]]:
        """The oldest ones, as many as a proposal holds; they are gone from here."""
        taken = {task_id: self._latest[task_id] for task_id, _ in zip(self._latest, range(BATCH), strict=False)}
        for task_id in taken:
            del self._latest[task_id]
        return taken

    def put_back(self, taken: Mapping[Id, tuple[Id, TaskStatus]]) -> None:
        """They could not be written; what came meanwhile is newer."""
        self._latest = {**taken, **self._latest}


def status_changes(now: Snapshot, reports: Mapping[Id, tuple[Id, TaskStatus]]) -> list[Change]:
    """The changes that these reports come to, now."""
    return [
        TaskChange(id=task_id, status=shortened(status))
        for task_id, (node_id, status) in reports.items()
        if _is_news(now, task_id, node_id, status)
    ]


def _is_news(now: Snapshot, task_id: Id, node_id: Id, status: TaskStatus) -> bool:
    task = now.tasks.get(task_id)
    if task is None or task.node_id != node_id or not TaskState.ASSIGNED < status.state < TaskState.ORPHANED:
        return False
    return status.state >= task.state and shortened(status) != task.status


def shortened(status: TaskStatus) -> TaskStatus:
    """An engine's words may be as long as it likes; the log is not."""
    if len(status.message) <= LONGEST_TEXT and len(status.err) <= LONGEST_TEXT:
        return status
    return replace(status, message=status.message[:LONGEST_TEXT], err=status.err[:LONGEST_TEXT])
