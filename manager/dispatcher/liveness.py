"""Who is still there: heartbeats on a monotonic clock. No clock of its own, no I/O; the leader's soft state.

A node is missed when nothing came from it for a whole window. A new leader gives every node half a window more to find it, however long
ago the last leader heard of it: where that one fell silent without a word, its nodes have to notice that first. A node that announced a
restart is given that long, by a new leader again.

Hundreds that have to come back at once, to a new leader or after its network failed, are heard one after the other. While many come, or
most are away, it is their way here that is long: nobody is missed who might be in the queue. Otherwise the leader would start the tasks
of half the cluster anew on the other half, just when it has most to do.
"""

from collections import deque
from collections.abc import Collection

from cluster.api.ids import Id

MISSED_BEATS = 3
COMING = 1.5
"""Windows that a node has to come to a new leader."""
CROWD = 20
"""So many nodes that come within a second, or that most nodes are and stay away, are a crowd."""
QUEUE = 30.0
"""Seconds more that a node is waited for while there is a crowd."""


class Liveness:
    def __init__(self, *, window: float) -> None:
        self.window = window
        """Seconds."""
        self._until: dict[Id, float] = {}
        self._returns: deque[float] = deque(maxlen=CROWD)

    def heard(self, node_id: Id, *, at: float) -> None:
        """A sign of life. It does not take back an announced absence: the last words of a node that goes away may come after it."""
        self._until[node_id] = max(self._until.get(node_id, 0.0), at + self.window)

    def returned(self, node_id: Id, *, at: float) -> None:
        """A new session: whatever was announced is over."""
        self._until[node_id] = at + self.window
        self._returns.append(at)

    def away(self, node_id: Id, *, at: float, seconds: float) -> None:
        """The node will be silent, on purpose."""
        self._until[node_id] = at + max(seconds, self.window)

    def begin_anew(self, *, at: float) -> None:
        """Give everyone a full window, as a new leader does: nobody was listening for a while."""
        self._until = {node_id: max(until, at + self.window) for node_id, until in self._until.items()}

    def forget(self, node_id: Id) -> None:
        self._until.pop(node_id, None)

    def missed(self, node_ids: Collection[Id], *, at: float) -> list[Id]:
        """Those of whom nothing was heard for too long. One that is asked about for the first time has time from now on to come."""
        late = [node_id for node_id in node_ids if self._until.setdefault(node_id, at + COMING * self.window) <= at]
        if self._is_crowded(late=len(late), of=len(node_ids), at=at):
            late = [node_id for node_id in late if self._until[node_id] + QUEUE <= at]
        return sorted(late)

    def _is_crowded(self, *, late: int, of: int, at: float) -> bool:
        many_come = len(self._returns) == CROWD and at - self._returns[0] <= 1.0
        return many_come or late > max(CROWD, of / 2)

    def next_missed(self, *, after: float) -> float | None:
        """When the next node is missed if it stays silent."""
        return min((until for until in self._until.values() if until > after), default=None)
