"""Whether this member can write: a full disk says so, one that hangs says nothing, and heartbeats would go on all the same.

Patience is counted in ticks of the event loop, not in seconds: a process or a machine that stood still has no slow disk.
"""

from collections import deque

from manager.raft.errors import StorageFull, StorageStalled


class DiskHealth:
    """Knows what was ordered and is not written, and for how many ticks."""

    def __init__(self, *, patience_ticks: int, tick_seconds: float) -> None:
        self._patience = patience_ticks
        self._tick_seconds = tick_seconds
        self._ticks = 0
        self._waiting: deque[tuple[int, int]] = deque()  # ticket, and when it was ordered
        self._full: StorageFull | None = None
        self._outrun_at: int | None = None
        self._outrun_since = 0

    @property
    def problem(self) -> StorageFull | StorageStalled | None:
        """Why nothing can be written now."""
        if self._full is not None:
            return self._full
        waited = self._ticks - self._waiting[0][1] if self._waiting else 0
        return StorageStalled(waited * self._tick_seconds) if waited >= self._patience else None

    @property
    def is_outrun(self) -> bool:
        """For all our patience another member has had what we still have not: it is our disk that is slow, not everybody's."""
        return self._outrun_at is not None and self._ticks - self._outrun_since >= self._patience

    def tick(self, *, outrun_at: int | None) -> None:
        """`outrun_at`: the last entry that is durable here, if a follower has more."""
        self._ticks += 1
        if outrun_at is None or outrun_at != self._outrun_at:
            self._outrun_at, self._outrun_since = outrun_at, self._ticks

    def ordered(self, ticket: int) -> None:
        self._waiting.append((ticket, self._ticks))

    def written(self, ticket: int) -> None:
        """It, and all that was ordered before."""
        while self._waiting and self._waiting[0][0] <= ticket:
            self._waiting.popleft()

    def full(self, full: StorageFull | None) -> None:
        """The disk is full; or, with None, has room again."""
        self._full = full
