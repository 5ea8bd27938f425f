"""The swarm's own events: what each change of the store means to someone who watches. Derived on every manager from its applied log.

Docker has them for services, nodes, secrets, configs and networks, and these are told in its words. Those of tasks are ours, and so is the
attribute `reason`, which any of them may have: why a task waits or ended, an update paused, a node is down.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.api.ids import Id
from cluster.api.objects import Network, Node, Object, Service, Task
from cluster.api.specs import SECOND, replicas_of
from cluster.api.states import Kind, TaskState, UpdateState
from manager.store.snapshot import Changes, Snapshot
from manager.why import reason_of
from node_agent.api.event_merge import Actor, Event

KEPT = 1_000
KEPT_OF_TASKS = 4_000
"""Events that `since` can still see. There are many of tasks, which shall not push out the others."""

_TOLD = (Kind.NODE, Kind.SERVICE, Kind.NETWORK, Kind.SECRET, Kind.CONFIG, Kind.TASK)
_LABEL = "com.docker.swarm."
_STUCK = (UpdateState.PAUSED, UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_PAUSED)


def derive(before: Snapshot, after: Snapshot, *, at: int) -> list[Event]:
    """The events of what differs between two snapshots of one store; none when too much lies between them to tell.

    `at`: wall clock in ns, the time of removals; everything else carries the leader's.
    """
    changes = after.changes_since(before)
    if changes is None:
        return []
    found = []
    for kind in _TOLD:
        for object_id in sorted(_ids(changes, kind)):
            old, new = _shown(before.get(kind, object_id)), _shown(after.get(kind, object_id))
            row = new if new is not None else old
            if row is None:
                continue
            if isinstance(row, Task):
                event = _task_event(old if isinstance(old, Task) else None, new if isinstance(new, Task) else None, before, after, at)
            else:
                event = _event(kind, old, new, at)
            if event is not None:
                found.append(event)
    return sorted(found, key=lambda event: event.time_nano)


def _shown(row: Object | None) -> Object | None:
    """A network on its way out is gone, as far as users can see."""
    return None if isinstance(row, Network) and row.leaving else row


def _ids(changes: Changes, kind: Kind) -> Iterable[str]:
    ids: Iterable[str] = getattr(changes, f"{kind}s")
    return ids


def _event(kind: Kind, before: Any, after: Any, at: int) -> Event | None:
    row = after if after is not None else before
    action = "create" if before is None else "remove" if after is None else "update"
    attributes = _attributes(kind, row)
    if action == "update":
        differs = _differences(before, after)
        if differs is None:
            return None
        attributes.update(differs)
    if after is not None and (reason := _reason(before, after)):
        attributes["reason"] = reason
    return _told(kind, action, row.id, attributes, at if after is None else row.updated_at)


def _told(kind: Kind, action: str, object_id: Id, attributes: Mapping[str, str], when: int) -> Event:
    return Event(type=kind.value, action=action, actor=Actor(id=object_id, attributes=attributes), time=when // SECOND, time_nano=when)


def _reason(before: Any, after: Any) -> str:
    """What is wrong with a service, a node or a network, when this change says so."""
    if isinstance(after, Service):
        status = after.update_status
        if status is not None and status.state in _STUCK and (before is None or before.update_status != status):
            return status.message
    if isinstance(after, Node):
        return "; ".join(filter(None, (after.status.message, *after.description.trouble)))
    pending: str = getattr(after, "pending_reason", "")
    return pending


# -- tasks -------------------------------------------------------------------------------------------------------------------------------
def _task_event(before: Task | None, after: Task | None, was: Snapshot, now: Snapshot, at: int) -> Event | None:
    """Each step of a task that a user would see: where it is, what it is wanted to be, whether traffic goes to it."""
    if after is None:
        return None if before is None else _told(Kind.TASK, "remove", before.id, _task_attributes(before, was), at)
    attributes = _task_attributes(after, now)
    differs = _changed({"state": ("" if before is None else before.state.wire, after.state.wire)})
    if before is not None:
        fit = (_fit(before), _fit(after))
        differs |= _changed({"desiredstate": (before.desired_state.wire, after.desired_state.wire), "ready": fit})
        if not differs and before.status.err == after.status.err:
            return None
    if reason := reason_of(now, after):
        attributes["reason"] = reason
    return _told(Kind.TASK, "create" if before is None else "update", after.id, attributes | differs, after.updated_at)


def _fit(task: Task) -> str:
    return "true" if task.state is TaskState.RUNNING and task.status.ready else "false"


def _task_attributes(task: Task, now: Snapshot) -> dict[str, str]:
    """Under the names of the labels that its container has."""
    template = now.template_of(task)
    attributes = {
        "name": f"{template.service_name}.{task.slot or task.node_id}.{task.id}",
        f"{_LABEL}service.id": task.service_id,
        f"{_LABEL}service.name": template.service_name,
    }
    if task.node_id:
        node = now.nodes.get(task.node_id)
        attributes |= {f"{_LABEL}node.id": task.node_id, "node": node.description.hostname if node is not None else ""}
    if task.state.ended and task.status.container is not None:
        attributes["exitCode"] = str(task.status.container.exit_code)
    return attributes


def _attributes(kind: Kind, row: Any) -> dict[str, str]:
    if isinstance(row, Node):
        return {"name": row.description.hostname}
    attributes = {"name": row.spec.name}
    if isinstance(row, Network):
        attributes["type"] = row.spec.driver
    if kind is not Kind.NETWORK:
        attributes |= dict(row.spec.labels)
        attributes["name"] = row.spec.name
    return attributes


def _differences(before: Any, after: Any) -> Mapping[str, str] | None:
    """What an update changed, in Docker's attributes; None for changes that nobody is told of."""
    if isinstance(after, Service):
        return _service_differences(before, after)
    if isinstance(after, Network):
        return None if before.spec == after.spec and before.pending_reason == after.pending_reason else {}
    if isinstance(after, Node):
        pairs = {
            "state": (before.status.state.value, after.status.state.value),
            "availability": (before.spec.availability.value, after.spec.availability.value),
            "role": (before.spec.role.value, after.spec.role.value),
        }
        changed = _changed(pairs)
        troubled = before.description.trouble != after.description.trouble
        return changed if changed or troubled or before.spec != after.spec else None
    return {} if before.spec != after.spec else None


def _service_differences(before: Service, after: Service) -> Mapping[str, str] | None:
    changed = _changed(
        {
            "replicas": (str(replicas_of(before.spec)), str(replicas_of(after.spec))),
            "image": (_image(before), _image(after)),
            "updatestate": (_update_state(before), _update_state(after)),
        }
    )
    return changed if changed or before.spec != after.spec or before.pending_reason != after.pending_reason else None


def _changed(pairs: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    found = {}
    for name, (old, new) in pairs.items():
        if old != new:
            found[f"{name}.new"] = new
            if old:
                found[f"{name}.old"] = old
    return found


def _image(row: Service) -> str:
    container = row.spec.task_template.container_spec
    return container.image if container is not None else ""


def _update_state(row: Service) -> str:
    return row.update_status.state.value if row.update_status is not None else ""


class EventLog:
    """Follows a store and keeps its last events for `since`; implements the SwarmEvents port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self._of_tasks: deque[tuple[int, Event]] = deque(maxlen=KEPT_OF_TASKS)
        """Each with its number."""
        self._count = Latest(0)

    async def follow(self, latest: Latest[Snapshot]) -> None:
        """Run beside the store."""
        before: Snapshot | None = None
        async for now in latest.values():
            if before is not None and (events := derive(before, now, at=self._clock.wall())):
                for number, event in enumerate(events, self._count.value + 1):
                    (self._of_tasks if event.type == Kind.TASK.value else self._events).append((number, event))
                self._count.set(self._count.value + len(events))
            before = now

    def _after(self, number: int) -> list[Event]:
        kept = (heard for heard in (*self._events, *self._of_tasks) if heard[0] > number)
        return [event for _, event in sorted(kept, key=lambda heard: heard[0])]

    async def since(self, time_nano: int) -> AsyncGenerator[Event, None]:
        seen = self._count.value
        for event in [event for event in self._after(0) if event.time_nano > time_nano]:
            yield event
        while True:
            revision = self._count.revision
            fresh = self._after(seen) if self._count.value > seen else []
            seen = self._count.value
            for event in fresh:
                yield event
            if self._count.revision == revision:
                await self._count.wait_change(revision)
