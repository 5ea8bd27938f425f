"""What a member is: its term, vote and log, and a role that has just the fields this role needs (paper figures 2 and 4)."""

from collections.abc import Callable

import msgspec

from manager.raft.core.effects import Effect, Install, Persist, RoleName, Send
from manager.raft.core.entries import HardState, SnapshotMeta, Stored
from manager.raft.core.log import Log
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Message
from manager.raft.core.progress import Progress

Draw = Callable[[int], int]
"""Draws a number below its argument; `random.Random(seed).randrange` is one."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Times in ticks, sizes in bytes."""

    heartbeat_ticks: int = 2
    election_ticks: int = 12  # the timeout is drawn anew in [this, twice this) (paper 5.2)
    max_append_bytes: int = 512 * 1024
    max_flights: int = 64
    max_flight_bytes: int = 4 * 1024 * 1024
    max_entry_bytes: int = 2 * 1024 * 1024
    max_uncommitted_bytes: int = 64 * 1024 * 1024


class Follower(msgspec.Struct, gc=False):
    """Listens to a leader, if there is one."""

    leader: MemberId | None = None


class PreCandidate(msgspec.Struct):
    """Asks whether it would be elected, before it disturbs anyone with a new term (thesis 9.6)."""

    granted: set[MemberId]
    refused: set[MemberId]


class Candidate(msgspec.Struct):
    """Asks for votes (paper 5.2). Its own counts once it is durable."""

    granted: set[MemberId]
    refused: set[MemberId]


class PendingRead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A read that waits for a majority to answer heartbeat round `round` (thesis 6.4)."""

    request: int
    asker: MemberId
    index: int
    round: int


class Transfer(msgspec.Struct, gc=False):
    """Leadership is being handed over; given up if it takes an election timeout (thesis 3.10)."""

    to: MemberId
    ticks: int = 0
    told: bool = False


class Leader:
    """Replicates its log."""

    __slots__ = (
        "commit_may_move",
        "early_reads",
        "lingers",
        "progress",
        "reads",
        "round",
        "term_start",
        "ticks",
        "transfer",
        "uncommitted_bytes",
    )

    def __init__(self, *, term_start: int, progress: dict[MemberId, Progress]) -> None:
        self.term_start = term_start  # the index of its first entry
        self.progress = progress  # of all other members
        self.round = 0
        self.reads: list[PendingRead] = []
        self.early_reads: list[tuple[int, MemberId]] = []  # came before the first commit of the term
        self.transfer: Transfer | None = None
        self.ticks = 0  # since it became leader
        self.uncommitted_bytes = 0
        self.commit_may_move = True
        self.lingers = False  # a moment was asked for, to tell a commit after


Role = Follower | PreCandidate | Candidate | Leader


class State:
    """One member. The modules of this package change it; the outcome of a step is collected in `effects`."""

    def __init__(self, me: MemberId, *, stored: Stored, settings: Settings, draw: Draw) -> None:
        self.me = me
        self.settings = settings
        self.draw = draw
        self.term = stored.hard.term
        self.vote = stored.hard.vote
        self.votes_from = None if stored.is_empty else stored.hard.votes_from
        self.durable_hard = stored.hard
        self.log = Log(stored)
        self.voters = self.log.membership.voters
        self.role: Role = Follower()
        self.elapsed = 0  # ticks since a leader, or an election, was last heard of
        self.timeout = 0
        self.stood_in_vain = 0  # elections since a leader was heard of
        self.effects: list[Effect] = []
        self._held: list[Send] = []
        self._ordered_hard = self._hard
        self._installing: SnapshotMeta | None = None
        self._ticket = 0
        self._tickets: list[tuple[int, HardState]] = []
        self.restart_timeout()

    @property
    def _hard(self) -> HardState:
        return HardState(term=self.term, vote=self.vote, votes_from=self.votes_from)

    def restart_timeout(self) -> None:
        """Drawn in [election, 2 election) (paper 5.2). After a first vain election sooner: no leader is there to be disturbed, and
        two who stood at the same moment need only be told apart; after more, patience again, for the disks may be slow."""
        least = self.settings.election_ticks
        if self.stood_in_vain == 1:
            least = max(least // 3, 1)
        self.elapsed = 0
        self.timeout = least + self.draw(least)

    @property
    def leader(self) -> MemberId | None:
        match self.role:
            case Follower(leader=leader):
                return leader
            case Leader():
                return self.me
            case _:
                return None

    @property
    def role_name(self) -> RoleName:
        return _ROLE_NAMES[type(self.role)]

    @property
    def is_voter(self) -> bool:
        return self.me in self.voters and self.may_vote

    @property
    def may_vote(self) -> bool:
        """One that began with an empty log has caught up (`following.catch_up_first`)."""
        return self.votes_from is not None and self.log.last_index >= self.votes_from

    @property
    def has_settled(self) -> bool:
        """Is an entry of this term committed? Before, a leader does not know what is (paper section 8)."""
        return self.log.term_at(self.log.commit) == self.term

    def hears_another_leader(self, than: MemberId) -> bool:
        """Within an election timeout of a leader's word, nobody else is helped to replace it (thesis 4.2.3)."""
        return self.leader not in (None, than) and self.elapsed < self.settings.election_ticks

    # Saying things

    def send(self, to: MemberId, message: Message) -> None:
        """This depends on nothing that is not durable already."""
        self.effects.append(Send(to=to, message=message))

    def send_durably(self, to: MemberId, message: Message) -> None:
        """This may leave only once all that this member decided so far is durable."""
        self._held.append(Send(to=to, message=message))

    def install(self, snapshot: SnapshotMeta) -> None:
        """This step ends with a snapshot in the place of the log."""
        self._installing = snapshot

    def order_writes(self) -> None:
        """At the end of a step: whatever became due to be written is, and what depends on it waits for it."""
        hard = self._hard
        new_hard = hard if hard != self._ordered_hard else None
        entries = self.log.take_unwritten()
        release = tuple(self._held)
        if self._installing is None and new_hard is None and not entries and not (release and self._tickets):
            self.effects.extend(release)
            self._held.clear()
            return
        self._ticket += 1
        self._tickets.append((self._ticket, hard))
        self._ordered_hard = hard
        self._held.clear()
        self.log.expect(self._ticket)
        if self._installing is not None:
            install = Install(ticket=self._ticket, hard=new_hard, snapshot=self._installing, release=release)
            self._installing = None
            self.effects.append(install)
            return
        self.effects.append(Persist(ticket=self._ticket, hard=new_hard, entries=entries, commit=self.log.commit, release=release))

    def written(self, ticket: int) -> None:
        """The shell reports a ticket done, and with it all before."""
        self.log.written(ticket)
        while self._tickets and self._tickets[0][0] <= ticket:
            self.durable_hard = self._tickets.pop(0)[1]


_ROLE_NAMES: dict[type[Role], RoleName] = {
    Follower: RoleName.FOLLOWER,
    PreCandidate: RoleName.PRE_CANDIDATE,
    Candidate: RoleName.CANDIDATE,
    Leader: RoleName.LEADER,
}
