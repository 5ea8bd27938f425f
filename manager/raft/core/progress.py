"""What a leader knows about one peer's log, and how much it may send it (thesis 10.2.1).

Probe      we guess where its log meets ours: one message at a time
Replicate  it follows: messages are sent ahead of the answers, up to a limit
Streaming  it needs a snapshot: nothing is sent until that has arrived
"""

from collections import deque
from typing import assert_never

import msgspec


class Probe(msgspec.Struct, gc=False):
    """Waiting for an answer to one append, if `asked`."""

    asked: bool = False


class Replicate:
    """Appends on their way, oldest first, each with its last index and its size."""

    __slots__ = ("bytes", "flights")

    def __init__(self) -> None:
        self.flights: deque[tuple[int, int]] = deque()
        self.bytes = 0

    def sent(self, last: int, size: int) -> None:
        self.flights.append((last, size))
        self.bytes += size

    def landed(self, upto: int) -> None:
        while self.flights and self.flights[0][0] <= upto:
            self.bytes -= self.flights.popleft()[1]


class Streaming(msgspec.Struct, gc=False):
    """A snapshot of `index` is being sent."""

    index: int


Mode = Probe | Replicate | Streaming


class Progress:
    """One peer. Mutable, owned by the leader's role."""

    __slots__ = (
        "acked_round",
        "active",
        "active_before",
        "awaited_commit",
        "catching_up_since",
        "catching_up_to",
        "caught_up",
        "leaving_for",
        "match",
        "mode",
        "next",
        "sent_commit",
    )

    def __init__(self, *, following: int, now: int = 0) -> None:
        self.match = 0
        self.next = following + 1
        self.mode: Mode = Probe()
        self.active = False  # heard from since the last quorum check
        self.active_before = False  # heard from in the period before that
        self.acked_round = 0
        self.sent_commit = 0
        self.awaited_commit = 0  # the last one that somebody there waits to hear of
        self.caught_up = False
        self.catching_up_to = following
        self.catching_up_since = now
        self.leaving_for: int | None = None  # ticks since it was voted out; it is still told so for a while

    def is_paused(self, *, max_flights: int, max_bytes: int) -> bool:
        match self.mode:
            case Probe(asked=asked):
                return asked
            case Replicate() as replicate:
                return len(replicate.flights) >= max_flights or replicate.bytes >= max_bytes
            case Streaming():
                return True
            case _:
                assert_never(self.mode)

    def sent(self, *, count: int, size: int, commit: int) -> None:
        """An append with this many entries, from `next` on, went out."""
        self.sent_commit = max(self.sent_commit, commit)
        match self.mode:
            case Probe() as probe:
                probe.asked = True
            case Replicate() as replicate:
                if count:
                    self.next += count
                    replicate.sent(self.next - 1, size)
            case Streaming():
                pass
            case _:
                assert_never(self.mode)

    def accepted(self, match: int) -> bool:
        """The peer's durable log equals ours up to `match`; True if that is news."""
        news = match > self.match
        self.match = max(self.match, match)
        self.next = max(self.next, match + 1)
        match self.mode:
            case Probe():
                if match >= self.match:
                    self.follow()
            case Replicate() as replicate:
                replicate.landed(match)
            case Streaming(index=index):
                if match >= index:
                    self.follow()
            case _:
                assert_never(self.mode)
        return news

    def rejected(self, prev_index: int, resume: int) -> None:
        """The peer has no entry that matches `prev_index`; try after `resume` next, unless this is an old answer."""
        if prev_index <= self.match:
            return
        match self.mode:
            case Replicate():
                self.probe_from(self.match + 1)
            case Probe():
                if prev_index == self.next - 1:
                    self.probe_from(max(min(prev_index, resume + 1), self.match + 1))
            case Streaming():
                pass
            case _:
                assert_never(self.mode)

    def follow(self) -> None:
        self.mode = Replicate()
        self.next = self.match + 1

    def probe_from(self, index: int) -> None:
        self.mode = Probe()
        self.next = index

    def stream(self, index: int) -> None:
        self.mode = Streaming(index=index)

    def streamed(self, index: int, *, arrived: bool) -> None:
        """The snapshot is sent, or given up; in either case ask before sending more, and no sooner than it answers.

        A peer gets one at a time, so if it has come to need a newer one meanwhile, that was not begun.
        """
        if isinstance(self.mode, Streaming):
            self.probe_from(max(self.match, index if arrived else 0) + 1)
            self.mode = Probe(asked=True)

    def dropped(self) -> None:
        """Messages were lost: the optimism is unfounded."""
        if isinstance(self.mode, Replicate):
            self.probe_from(self.match + 1)

    @property
    def is_reachable(self) -> bool:
        return self.active or self.active_before

    def begin_period(self) -> None:
        """A quorum check was made."""
        self.active_before, self.active = self.active, False

    def heard(self, *, round_: int) -> None:
        self.active = True
        self.acked_round = max(self.acked_round, round_)
        if isinstance(self.mode, Probe):
            self.mode.asked = False

    def measure(self, *, now: int, last_index: int, within: int) -> None:
        """Caught up is who lacks nothing, or got what was new when it began in less than an election timeout (thesis 4.2.1)."""
        if self.caught_up or self.match < self.catching_up_to:
            return
        self.caught_up = self.match >= last_index or now - self.catching_up_since < within
        self.catching_up_to, self.catching_up_since = last_index, now
