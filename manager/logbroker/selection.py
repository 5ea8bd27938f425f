"""Whose logs a client reads. Pure."""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Task
from cluster.api.states import TaskState
from manager.store.snapshot import Snapshot


class Selection(Protocol):
    def tasks(self, now: Snapshot) -> Collection[Id]:
        """The tasks whose logs can be asked for now."""
        ...

    def may_grow(self, now: Snapshot) -> bool:
        """Further tasks may come: who follows waits for them."""
        ...


class OfService(Struct, frozen=True):
    """All tasks of a service; a follower sees new ones too."""

    service_id: Id

    def tasks(self, now: Snapshot) -> Collection[Id]:
        return sorted(task.id for task in now.tasks_of(self.service_id).values() if has_log(task))

    def may_grow(self, now: Snapshot) -> bool:
        return self.service_id in now.services


class OfTask(Struct, frozen=True):
    task_id: Id

    def tasks(self, now: Snapshot) -> Collection[Id]:
        task = now.tasks.get(self.task_id)
        return (self.task_id,) if task is not None and has_log(task) else ()

    def may_grow(self, now: Snapshot) -> bool:
        """A task that is not placed yet gets its log with its node."""
        task = now.tasks.get(self.task_id)
        return task is not None and not task.state.ended and not task.node_id


class LogRequest(Struct, frozen=True, kw_only=True):
    """What of their logs a client wants to read."""

    selection: Selection
    follow: bool = False
    tail: int = -1
    since: int = 0
    until: int = 0
    stdout: bool = True
    stderr: bool = True


def has_log(task: Task) -> bool:
    """It is on a node, and has a container or will have one."""
    if not task.node_id or not TaskState.ASSIGNED <= task.state < TaskState.ORPHANED:
        return False
    return not task.state.ended or task.status.container is not None
