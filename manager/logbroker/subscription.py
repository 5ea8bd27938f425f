"""One client's reading of logs: which task's part is where, what came, what will not come. No clock of its own, no I/O but waking.

Every selected task has a part, and every part ends: with the node's word, or with one error line for a node that does not answer,
breaks off or is down. So a reader never hangs on a dead node.
"""

from collections import deque

from msgspec.structs import replace

from cluster.aio.latest import Latest
from cluster.api.assignment import LogChunk, LogOrder
from cluster.api.errors import Forbidden, TooLarge
from cluster.api.ids import Id
from cluster.api.states import NodeState
from manager.logbroker.selection import LogRequest
from manager.store.snapshot import Snapshot

ANSWER_WITHIN = 5.0
"""Seconds that a node has to open its stream, from the first order on."""
ASK_AGAIN = 1.0
"""Seconds after which an order without an answer is given again: its node may have had no session just then."""
WINDOW = 1 << 20
"""What a node may send ahead; it knows this number too (worker.logs)."""


class Feed:
    """A node's stream into a subscription: what its reader has taken and the node may send more of."""

    def __init__(self, node_id: Id) -> None:
        self.node_id = node_id
        self.stirred = Latest(0)
        self.is_stopped = False
        self._held = 0
        self._owed = 0

    def came(self, count: int) -> None:
        self._held += count
        if self._held > 2 * WINDOW:
            raise TooLarge(f"node {self.node_id} sends more of a log than it was given credit for")

    def read(self, count: int) -> None:
        self._held -= count
        self._owed += count
        self.stirred.set(self.stirred.value + 1)

    def credit(self) -> int:
        """Bytes read since the last time."""
        owed, self._owed = self._owed, 0
        return owed

    def stop(self) -> None:
        self.is_stopped = True
        self.stirred.set(self.stirred.value + 1)


class _Part:
    __slots__ = ("first_asked", "has_ended", "last_asked", "node_id")

    def __init__(self, node_id: Id, at: float) -> None:
        self.node_id = node_id
        self.first_asked = at
        self.last_asked: float | None = None
        self.has_ended = False


class Subscription:
    def __init__(self, stream: Id, request: LogRequest, *, addr: str) -> None:
        self.stirred = Latest(0)
        """Changes when there is more to read."""
        self._request = request
        self._order = LogOrder(
            stream=stream,
            addr=addr,
            tasks=(),
            follow=request.follow,
            tail=request.tail,
            since=request.since,
            until=request.until,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        self._parts: dict[Id, _Part] = {}
        self._feeds: dict[Id, Feed] = {}
        self._chunks: deque[tuple[LogChunk, Feed | None]] = deque()

    # -- what to ask for ---------------------------------------------------------------------------------------------------------------
    def look(self, now: Snapshot, *, at: float) -> LogOrder | None:
        """New parts by the snapshot, an end for those that will not come, and what to order now."""
        if self._request.follow or not self._parts:
            for task_id in self._request.selection.tasks(now):
                if task_id not in self._parts:
                    self._parts[task_id] = _Part(now.tasks[task_id].node_id, at)
        self._give_up(now, at)
        due = [task_id for task_id, part in self._parts.items() if self._is_due(part, at)]
        for task_id in due:
            self._parts[task_id].last_asked = at
        return replace(self._order, tasks=tuple(due)) if due else None

    def _is_due(self, part: _Part, at: float) -> bool:
        if part.has_ended:
            return False
        if part.last_asked is None:
            return True
        return part.node_id not in self._feeds and at - part.last_asked >= ASK_AGAIN

    def _give_up(self, now: Snapshot, at: float) -> None:
        waiting = {part.node_id: part for part in self._parts.values() if not part.has_ended}
        for node_id, part in waiting.items():
            node = now.nodes.get(node_id)
            if node is None or node.status.state is NodeState.DOWN:
                self._lose(node_id, f"node {_called(now, node_id)} is not available")
            elif node_id not in self._feeds and at - part.first_asked >= ANSWER_WITHIN:
                self._lose(node_id, f"node {_called(now, node_id)} did not answer within {ANSWER_WITHIN:g} s")

    def _lose(self, node_id: Id, why: str) -> None:
        lost = [task_id for task_id, part in self._parts.items() if part.node_id == node_id and not part.has_ended]
        if not lost:
            return
        for task_id in lost:
            self._parts[task_id].has_ended = True
        tasks = "task" if len(lost) == 1 else "tasks"
        text = f"incomplete log stream: {why}; what {tasks} {', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''} said is missing"
        self._put(LogChunk(stream=self._order.stream, task_id=lost[0], source=2, error=text), None)

    def next_look(self) -> float | None:
        """Seconds until time alone may change something; None when only events can."""
        unanswered = any(not part.has_ended and part.node_id not in self._feeds for part in self._parts.values())
        return ASK_AGAIN if unanswered else None

    def is_complete(self, now: Snapshot) -> bool:
        """Everything was read and nothing more can come."""
        if self._chunks or any(not part.has_ended for part in self._parts.values()):
            return False
        return not (self._request.follow and self._request.selection.may_grow(now))

    # -- what comes --------------------------------------------------------------------------------------------------------------------
    def opened(self, node_id: Id) -> Feed:
        """The node's stream is there; a newer one takes the place of an older."""
        if node_id not in {part.node_id for part in self._parts.values()}:
            raise Forbidden(f"node {node_id} runs no task of this log stream")
        former = self._feeds.get(node_id)
        if former is not None:
            former.stop()
        feed = self._feeds[node_id] = Feed(node_id)
        return feed

    def came(self, feed: Feed, chunk: LogChunk) -> None:
        """Raises Forbidden for a task that is not the node's own, TooLarge for more than the node had credit for."""
        if not chunk.task_id:
            return
        part = self._parts.get(chunk.task_id)
        if part is None or part.node_id != feed.node_id:
            raise Forbidden(f"task {chunk.task_id} of this log stream is not on node {feed.node_id}")
        if part.has_ended:
            feed.read(len(chunk.content))
            return
        feed.came(len(chunk.content))
        part.has_ended = chunk.end
        self._put(chunk, feed)

    def closed(self, feed: Feed) -> None:
        """The node's stream is over; what it did not end will not come any more."""
        if self._feeds.get(feed.node_id) is feed:
            del self._feeds[feed.node_id]
            self._lose(feed.node_id, f"node {feed.node_id} broke off")
        self.stirred.set(self.stirred.value + 1)

    def stop(self) -> None:
        """The reader is gone."""
        for feed in self._feeds.values():
            feed.stop()

    def _put(self, chunk: LogChunk, feed: Feed | None) -> None:
        self._chunks.append((chunk, feed))
        self.stirred.set(self.stirred.value + 1)

    # -- what is read ------------------------------------------------------------------------------------------------------------------
    def take(self) -> tuple[LogChunk, Feed | None] | None:
        return self._chunks.popleft() if self._chunks else None


def _called(now: Snapshot, node_id: Id) -> str:
    node = now.nodes.get(node_id)
    hostname = "" if node is None else node.description.hostname
    return f"{hostname} ({node_id})" if hostname else node_id
