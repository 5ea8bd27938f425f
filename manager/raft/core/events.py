"""Everything that can happen to a member. The shell turns clocks, sockets, disks and callers into these."""

import msgspec

from manager.raft.core.entries import SnapshotMeta
from manager.raft.core.membership import Change, MemberId
from manager.raft.core.messages import Message


class Tick(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One unit of time passed."""


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A peer said something."""

    sender: MemberId
    message: Message


class Persisted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that was ordered up to and with this ticket is on the disk."""

    ticket: int


class Propose(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Callers want these commands in the log, in this order; answered by `Proposed` or `Refused`."""

    request: int
    payloads: tuple[bytes, ...]


class ChangeMembership(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A caller wants one step of membership change; answered by `Proposed` or `Refused`."""

    request: int
    change: Change


class ReadIndex(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A caller wants to read what is committed now; answered by `ReadReady` or `ReadFailed`."""

    request: int


class TransferLeadership(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Hand leadership to this voter, or to the one that is furthest on."""

    to: MemberId | None = None


class StepDown(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The shell finds this member unfit to lead just now."""


class TellCommit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The moment that `Linger` asked for is over."""


class AwaitsCommit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somebody at that member waits until it has applied what is committed, or proposed next: the news must not wait for entries to ride
    with.
    """

    member: MemberId


class SnapshotSaved(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """This member's own snapshot is on the disk, and the log before `keep_from` is not any more."""

    snapshot: SnapshotMeta
    keep_from: int


class SnapshotArrived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A leader's snapshot was received whole, checked, and lies on the disk, not yet in force."""

    sender: MemberId
    term: int
    snapshot: SnapshotMeta


class SnapshotSent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The shell is done sending a snapshot to a peer, with or without success, and sends it none now."""

    to: MemberId
    index: int
    arrived: bool


class Unreachable(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Messages to this peer were dropped."""

    member: MemberId


class Suspect(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The connection from this peer broke: if it leads us, there is no point in waiting out the whole timeout."""

    member: MemberId


Event = (
    Tick
    | Received
    | Persisted
    | Propose
    | ChangeMembership
    | ReadIndex
    | TransferLeadership
    | StepDown
    | TellCommit
    | AwaitsCommit
    | SnapshotSaved
    | SnapshotArrived
    | SnapshotSent
    | Unreachable
    | Suspect
)
