"""Everything a member can ask of its shell.

What must wait for the disk is written down, not left to the reader: a message that depends on what a `Persist` writes is in
its `release` and leaves once that is durable; any other `Send` may leave at once, so a leader's followers write while it
does (thesis 10.2.1).
"""

import enum

import msgspec

from manager.raft.core.entries import Entry, HardState, SnapshotMeta
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Message


class Send(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Say this to a peer; it may get lost."""

    to: MemberId
    message: Message


class Persist(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Write this after all earlier tickets, then send `release` and report `Persisted`.

    The entries replace whatever the disk has from the first one's index on. `commit` needs no sync of its own.
    """

    ticket: int
    hard: HardState | None
    entries: tuple[Entry, ...]
    commit: int
    release: tuple[Send, ...]


class Install(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Put a snapshot that arrived in force: it replaces the log and the state machine. Else as `Persist`."""

    ticket: int
    hard: HardState | None
    snapshot: SnapshotMeta
    release: tuple[Send, ...]


class Apply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Give these to the state machine, in order; they are committed, and durable here."""

    entries: tuple[Entry, ...]


class Linger(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A commit is news to peers. It may ride with the next entries, if there are any in a moment; give `TellCommit` then."""


class SendSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """This peer is too far behind for the log; stream it the newest snapshot, unless one is on its way, and report `SnapshotSent`."""

    to: MemberId
    snapshot: SnapshotMeta


class Proposed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The request is in the log from this index on; its outcome is known when that is applied."""

    request: int
    first: int
    term: int


class Refusal(enum.Enum):
    """Why a request did not enter the log. Nothing has changed."""

    NOT_LEADER = "not the leader"
    TRANSFERRING = "leadership is being handed over"
    TOO_LARGE = "the proposal is too large"
    TOO_MUCH_UNCOMMITTED = "too much is waiting for a quorum"
    CHANGE_IN_PROGRESS = "another membership change is not committed yet"
    NOT_SETTLED = "the new leader has not committed an entry of its own yet"
    QUORUM_AT_RISK = "this would result in a loss of quorum"
    UNSUITABLE = "the change makes no sense for this membership"


class Refused(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The request did not enter the log."""

    request: int
    why: Refusal
    detail: str = ""


class ReadReady(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Once `index` is applied here, the state machine answers this read linearizably."""

    request: int
    index: int


class ReadFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """No leader could be asked; ask again when there is one."""

    request: int


class RoleName(enum.Enum):
    """What a member is to the others at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class RoleChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """This member's view of who leads has changed."""

    term: int
    role: RoleName
    leader: MemberId | None


Effect = Send | Persist | Install | Apply | Linger | SendSnapshot | Proposed | Refused | ReadReady | ReadFailed | RoleChanged
