"""Callers who wait for an entry to be applied. Many wait at once; each turn of the driver proposes all that came meanwhile."""

import asyncio
from collections.abc import Callable

from cluster.aio.company import Company
from manager.raft.core.effects import Proposed, Refusal, Refused
from manager.raft.core.events import ChangeMembership, Propose
from manager.raft.core.membership import Change, MemberId
from manager.raft.errors import MembershipRefused, NotLeader, ProposalLost, ProposalTooLarge, TooBusy

Waiter = asyncio.Future[object]

FEW = 16
"""Proposals that are worth a batch of their own while others are on their way: a batch costs each member as much as some thirty entries."""
GATHER_MOMENTS = 5
"""What comes while others are on their way waits for company no longer."""


class NotNow(MembershipRefused):
    """The change may be asked for again in a moment."""


class Proposals:
    """From a caller's payload to what applying it gave."""

    def __init__(self, *, max_waiting: int, max_bytes: int, max_payload: int) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._max_payload = max_payload
        self._new: list[tuple[bytes, Waiter]] = []
        self._changes: list[tuple[Change, Waiter]] = []
        self._asked: dict[int, list[Waiter]] = {}
        self._in_log: dict[int, tuple[int, int, Waiter]] = {}  # by index: term, size, waiter
        self._sizes: dict[int, list[int]] = {}
        self._bytes = 0
        self._request = 0
        self._company = Company()
        self._applied_together = 0
        self._moments = 0

    @property
    def waiting(self) -> int:
        return len(self._new) + len(self._in_log)

    @property
    def may_go(self) -> bool:
        """Whether there is something for the log. While some are on their way, what comes gathers: until those are applied, or until it is
        as many, but not a few, or for `GATHER_MOMENTS`. Once they are applied, the first to come waits for as many as there were. However
        many propose, there are few batches, and large ones.
        """
        return bool(self._changes) or (bool(self._new) and self._are_enough)

    @property
    def _are_enough(self) -> bool:
        if self._in_log:
            return self._moments >= GATHER_MOMENTS or len(self._new) >= max(FEW, len(self._in_log))
        return self._company.is_there(len(self._new))

    @property
    def gathers(self) -> bool:
        """Something is held back, or would be if it came now: `moment` is to be called in a moment."""
        return not self._are_enough if self._new else not self._in_log and self._company.is_expected

    def moment(self) -> None:
        """A moment of gathering has passed."""
        if self._in_log:
            self._moments += 1
        else:
            self._company.look(len(self._new))

    def enter(self, payload: bytes) -> Waiter:
        """Raises `TooBusy` or `ProposalTooLarge`; else the result comes."""
        if len(payload) > self._max_payload:
            raise ProposalTooLarge(len(payload), self._max_payload)
        if self.waiting >= self._max_waiting or (self._bytes and self._bytes + len(payload) > self._max_bytes):
            raise TooBusy(self.waiting)
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._new.append((payload, waiter))
        self._bytes += len(payload)
        return waiter

    def enter_change(self, change: Change) -> Waiter:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._changes.append((change, waiter))
        return waiter

    def take(self) -> list[Propose | ChangeMembership]:
        """All that came, as one event, and the membership changes; nothing unless it `may_go`. A new turn begins."""
        self._applied_together = 0
        events: list[Propose | ChangeMembership] = []
        if self._new and self.may_go:
            new, self._new = self._new, []
            self._moments = 0
            self._request += 1
            payloads = tuple(payload for payload, _ in new)
            self._asked[self._request] = [waiter for _, waiter in new]
            self._sizes[self._request] = [len(payload) for payload in payloads]
            events.append(Propose(request=self._request, payloads=payloads))
        for change, waiter in self._changes:
            self._request += 1
            self._asked[self._request] = [waiter]
            self._sizes[self._request] = [0]
            events.append(ChangeMembership(request=self._request, change=change))
        self._changes = []
        return events

    def entered(self, proposed: Proposed) -> None:
        waiters, sizes = self._asked.pop(proposed.request, []), self._sizes.pop(proposed.request, [])
        for index, (waiter, size) in enumerate(zip(waiters, sizes, strict=True), proposed.first):
            self._in_log[index] = (proposed.term, size, waiter)

    def refused(self, refused: Refused, leader: MemberId | None) -> None:
        waiters, sizes = self._asked.pop(refused.request, []), self._sizes.pop(refused.request, [])
        self._bytes -= sum(sizes)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(_error_for(refused, leader, waiting=self.waiting, limit=self._max_payload))

    def applied(self, index: int, term: int, result: object) -> None:
        """The entry at `index` is of `term`: if ours was of another, it was replaced."""
        found = self._in_log.pop(index, None)
        if found is None:
            return
        proposed_in, size, waiter = found
        self._bytes -= size
        self._applied_together += 1
        if not self._in_log:
            self._company.answered(self._applied_together, waiting=len(self._new))
        if waiter.done():
            return
        if proposed_in == term:
            waiter.set_result(result)
        else:
            waiter.set_exception(ProposalLost())

    def lose_all(self) -> None:
        """Leadership ended: what is in the log may or may not be committed by the next leader."""
        lost, self._in_log = self._in_log, {}
        self._company.part()
        for _, size, waiter in lost.values():
            self._bytes -= size
            if not waiter.done():
                waiter.set_exception(ProposalLost())

    def refuse_all(self, error: Callable[[], Exception]) -> None:
        """Nothing more can be proposed here: those that have not entered the log are told why."""
        new, self._new = self._new, []
        changes, self._changes = self._changes, []
        self._bytes -= sum(len(payload) for payload, _ in new)
        for _, waiter in (*new, *changes):
            if not waiter.done():
                waiter.set_exception(error())


def _error_for(refused: Refused, leader: MemberId | None, *, waiting: int, limit: int) -> Exception:
    match refused.why:
        case Refusal.NOT_LEADER | Refusal.TRANSFERRING:
            return NotLeader(leader)
        case Refusal.TOO_MUCH_UNCOMMITTED:
            return TooBusy(waiting)
        case Refusal.TOO_LARGE:
            return ProposalTooLarge(limit + 1, limit)
        case Refusal.CHANGE_IN_PROGRESS | Refusal.NOT_SETTLED:
            return NotNow(refused.why.value)
        case Refusal.QUORUM_AT_RISK | Refusal.UNSUITABLE:
            return MembershipRefused(refused.detail or refused.why.value)
