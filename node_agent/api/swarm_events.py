"""The swarm's own events: what each change of the store means to someone who watches. Derived on every manager from its applied log.

Docker has them for services, nodes, secrets, configs and networks; tasks are told through their containers' own events.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.api.objects import Network, Node, Service
from cluster.api.specs import SECOND, replicas_of
from cluster.api.states import Kind
from manager.store.snapshot import Changes, Snapshot
from node_agent.api.event_merge import Actor, Event

KEPT = 1_000
"""Events that `since` can still see."""

_TOLD = (Kind.NODE, Kind.SERVICE, Kind.NETWORK, Kind.SECRET, Kind.CONFIG)


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
            event = _event(kind, before.get(kind, object_id), after.get(kind, object_id), at)
            if event is not None:
                found.append(event)
    return found


def _ids(changes: Changes, kind: Kind) -> Iterable[str]:
    ids: Iterable[str] = getattr(changes, f"{kind}s")
    return ids


def _event(kind: Kind, before: Any, after: Any, at: int) -> Event | None:
    row = after if after is not None else before
    if row is None:
        return None
    action = "create" if before is None else "remove" if after is None else "update"
    attributes = _attributes(kind, row)
    if action == "update":
        differs = _differences(kind, before, after)
        if differs is None:
            return None
        attributes.update(differs)
    when = at if after is None else row.updated_at
    actor = Actor(id=row.id, attributes=attributes)
    return Event(type=kind.value, action=action, actor=actor, time=when // SECOND, time_nano=when)


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


def _differences(kind: Kind, before: Any, after: Any) -> Mapping[str, str] | None:
    """What an update changed, in Docker's attributes; None for changes that nobody is told of."""
    if isinstance(after, Service):
        return _service_differences(before, after)
    if isinstance(after, Node):
        pairs = {
            "state": (before.status.state.value, after.status.state.value),
            "availability": (before.spec.availability.value, after.spec.availability.value),
            "role": (before.spec.role.value, after.spec.role.value),
        }
        changed = _changed(pairs)
        return changed if changed or before.spec != after.spec else None
    return {} if kind is Kind.NETWORK or before.spec != after.spec else None


def _service_differences(before: Service, after: Service) -> Mapping[str, str] | None:
    changed = _changed(
        {
            "replicas": (str(replicas_of(before.spec)), str(replicas_of(after.spec))),
            "image": (_image(before), _image(after)),
            "updatestate": (_update_state(before), _update_state(after)),
        }
    )
    return changed if changed or before.spec != after.spec else None


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
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._count = Latest(0)

    async def follow(self, latest: Latest[Snapshot]) -> None:
        """Run beside the store."""
        before: Snapshot | None = None
        async for now in latest.values():
            if before is not None and (events := derive(before, now, at=self._clock.wall())):
                self._events.extend(events)
                self._count.set(self._count.value + len(events))
            before = now

    async def since(self, time_nano: int) -> AsyncGenerator[Event, None]:
        seen = self._count.value
        for event in [event for event in self._events if event.time_nano > time_nano]:
            yield event
        while True:
            revision = self._count.revision
            fresh = self._count.value - seen
            seen = self._count.value
            for event in list(self._events)[-fresh:] if fresh else ():
                yield event
            if self._count.revision == revision:
                await self._count.wait_change(revision)
