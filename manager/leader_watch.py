"""Who leads, as this manager knows it: where to go, how long to wait for it, and what to say when that is hopeless.

Elections take a second. A manager that has had no leader for `PATIENCE` is cut off, or too few of them are left: it says so at once to
whoever asks, and who is missing.
"""

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.api.errors import NoLeader
from cluster.api.ids import Id
from manager.leader import Leading
from manager.quorum import Seen, missing
from manager.raft.config import Leadership
from manager.raft.core.membership import MemberId, Standing
from manager.raft.driver import Raft
from manager.store.store import Store

PATIENCE = 3.0
"""Seconds without a leader that are taken for an election: two timeouts and a half."""
SILENT_AFTER = 2.5
"""Seconds. Without a leader every member that lives asks for votes, or answers, within an election timeout (1.2)."""


class LeaderWatch:
    """Implements gateway.Leadership."""

    def __init__(self, raft: Raft, store: Store, clock: Clock) -> None:
        self._raft = raft
        self._store = store
        self._clock = clock
        self._leading: Leading | None = None
        self._turns = Latest(0)
        """Changes when there may be another leader, or none."""
        self._lost_at: float | None = clock.monotonic()
        """Since when there is no leader; None while there is one."""
        self._heard: dict[MemberId, float] = {}

    async def run(self) -> None:
        """Follow Raft until cancelled."""
        async for now in self._raft.leadership.values():
            self._note(now)

    def _note(self, now: Leadership) -> None:
        if now.leader is not None:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = self._clock.monotonic()
        self._turns.set(self._turns.value + 1)

    def lead(self, leading: Leading | None) -> None:
        """This manager's term begins, or ends."""
        self._leading = leading
        self._turns.set(self._turns.value + 1)

    def heard(self, member: MemberId) -> None:
        """A sign of life of another manager."""
        self._heard[member] = self._clock.monotonic()

    def answers(self, member: MemberId) -> bool:
        """Whether it was heard of just now. What a follower hears of other followers is little while there is a leader."""
        return member == self._raft.me or self._clock.monotonic() - self._heard.get(member, -SILENT_AFTER) < SILENT_AFTER

    # -- where to go -------------------------------------------------------------------------------------------------------------------
    def leading(self) -> Leading | None:
        return self._leading

    def leader_addr(self) -> str:
        leader = self._raft.leadership.value.leader
        if leader is None or leader == self._raft.me:
            return ""
        return self._raft.address_of(leader) or ""

    def term(self) -> int:
        return self._raft.leadership.value.term

    async def wait_leader(self) -> None:
        """Wait for a leader to be known; raises NoLeader once there was none for too long."""
        while self._leading is None and not self.leader_addr():
            seen = self._turns.revision
            self.refuse_if_forsaken()
            await self._turns.wait_change_within(self._clock.limit(self._left()), seen)

    async def wait_other_than(self, address: str) -> None:
        async for _ in self._raft.leadership.values():
            if self.leader_addr() != address:
                return

    def hasten(self, node_id: Id) -> None:
        self._raft.hasten_commit(MemberId(node_id))

    # -- what to say -------------------------------------------------------------------------------------------------------------------
    def refuse_if_forsaken(self) -> None:
        """Raises NoLeader if there was no leader for too long."""
        if self._left() <= 0:
            raise self.no_leader()

    def _left(self) -> float:
        """Seconds that are still worth waiting."""
        return PATIENCE if self._lost_at is None else self._lost_at + PATIENCE - self._clock.monotonic()

    def no_leader(self, *hints: str) -> NoLeader:
        """The refusal, in Docker's words, and what we know beside them."""
        return NoLeader("; ".join(filter(None, (self._reason(), *hints))))

    def _reason(self) -> str:
        status = self._raft.status()
        if status.storage_problem:
            return status.storage_problem
        if status.leader is not None:
            return f"manager {self._name_of(status.leader)} was elected and does not answer"
        voters = [member for member in status.members if member.standing is Standing.VOTER]
        return missing([Seen(name=self._name_of(one.id), addr=one.address, answers=self.answers(one.id)) for one in voters])

    def _name_of(self, member: MemberId) -> str:
        node = self._store.snapshot.nodes.get(member)
        return (node.description.hostname if node is not None else "") or member
