"""Who is still there: heartbeats on a monotonic clock. No clock of its own, no I/O; the leader's soft state.

A node is missed when nothing came from it for a whole window. A new leader gives every node half a window more to find it, however long
ago the last leader heard of it: where that one fell silent without a word, its nodes have to notice that first. A node that announced a
restart is given that long, by a new leader again.
"""

from collections.abc import Iterable

from cluster.api.ids import Id

MISSED_BEATS = 3
COMING = 1.5
"""Windows that a node has to come to a new leader."""


class Liveness:
    def __init__(self, *, window: float) -> None:
        self.window = window
        """Seconds."""
        self._until: dict[Id, float] = {}

    def heard(self, node_id: Id, *, at: float) -> None:
        """A sign of life. It does not take back an announced absence: the last words of a node that goes away may come after it."""
        self._until[node_id] = max(self._until.get(node_id, 0.0), at + self.window)

    def returned(self, node_id: Id, *, at: float) -> None:
        """A new session: whatever was announced is over."""
        self._until[node_id] = at + self.window

    def away(self, node_id: Id, *, at: float, seconds: float) -> None:
        """The node will be silent, on purpose."""
        self._until[node_id] = at + max(seconds, self.window)

    def begin_anew(self, *, at: float) -> None:
        """Give everyone a full window, as a new leader does: nobody was listening for a while."""
        self._until = {node_id: max(until, at + self.window) for node_id, until in self._until.items()}

    def forget(self, node_id: Id) -> None:
        self._until.pop(node_id, None)

    def missed(self, node_ids: Iterable[Id], *, at: float) -> list[Id]:
        """Those of whom nothing was heard for too long. One that is asked about for the first time has time from now on to come."""
        return sorted(node_id for node_id in node_ids if self._until.setdefault(node_id, at + COMING * self.window) <= at)

    def next_missed(self, *, after: float) -> float | None:
        """When the next node is missed if it stays silent."""
        return min((until for until in self._until.values() if until > after), default=None)
