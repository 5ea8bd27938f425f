"""Two streams of events in one order of time. Pure: the caller says what time it is.

Each source is in order by itself, and one may be silent for long. An event goes out as soon as the other source can no longer come up with
an earlier one: because it has a later one waiting, because it ended, or because it had its chance (`PATIENCE`).
"""

from collections import deque
from collections.abc import Mapping

import msgspec

PATIENCE = 0.05  # seconds for which an event waits for an earlier one of the other source


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    id: str = msgspec.field(default="", name="ID")
    attributes: Mapping[str, str] = msgspec.field(default_factory=dict, name="Attributes")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, under the names of Docker's API."""

    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: Actor = msgspec.field(name="Actor")
    scope: str = "swarm"
    time: int = 0
    time_nano: int = msgspec.field(name="timeNano")


class Stamped(msgspec.Struct, frozen=True):
    """An event as it is sent, and its time."""

    time_nano: int
    line: bytes


class Merge:
    """Holds what has arrived of two sources until it can go out in order."""

    def __init__(self) -> None:
        self._waiting: tuple[deque[tuple[float, Stamped]], deque[tuple[float, Stamped]]] = (deque(), deque())
        self._open = [True, True]

    def add(self, source: int, event: Stamped, *, now: float) -> None:
        self._waiting[source].append((now, event))

    def end(self, source: int) -> None:
        """The source has nothing more."""
        self._open[source] = False

    @property
    def held(self) -> int:
        """How many are waiting."""
        return len(self._waiting[0]) + len(self._waiting[1])

    @property
    def ended(self) -> bool:
        return not any(self._open) and not any(self._waiting)

    def due(self, *, now: float) -> list[Stamped]:
        """What can go out."""
        ready: list[Stamped] = []
        while (source := self._first()) is not None:
            arrived, event = self._waiting[source][0]
            other = 1 - source
            if not self._waiting[other] and self._open[other] and now - arrived < PATIENCE:
                break
            self._waiting[source].popleft()
            ready.append(event)
        return ready

    def wait(self, *, now: float) -> float | None:
        """Seconds until more can go out if nothing arrives; None when that would change nothing."""
        source = self._first()
        return None if source is None else max(self._waiting[source][0][0] + PATIENCE - now, 0.0)

    def _first(self) -> int | None:
        heads = [(waiting[0][1].time_nano, source) for source, waiting in enumerate(self._waiting) if waiting]
        return min(heads)[1] if heads else None
