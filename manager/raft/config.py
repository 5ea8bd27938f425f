"""The timing and the limits of one member; defaults as in docs/design/raft.md."""

import msgspec

from manager.raft.core.membership import MemberId, Standing
from manager.raft.core.state import Settings

MIB = 1024 * 1024


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Fixed for the life of a member. Ticks are counted in `core.tick_seconds`."""

    tick_seconds: float = 0.05
    core: Settings = Settings()
    snapshot_entries: int = 10_000
    snapshot_bytes: int = 64 * MIB
    keep_entries: int = 500  # kept in the log behind a snapshot, for followers that are a little behind
    max_waiting: int = 4096  # proposals that are not applied yet
    max_waiting_bytes: int = 64 * MIB
    linger_seconds: float = 0.005  # how long the news of a commit, where nobody waits for it, waits for entries to ride with
    moment_seconds: float = 0.001  # while proposals wait for company, how often one looks whether it comes
    slice_seconds: float = 0.010  # applying goes on for this long before others get their turn
    stall_seconds: float = 0.1  # a tick later than this is logged and counted
    disk_ticks: int = 20  # a write that takes longer makes a leader hand over to a member whose disk answers
    snapshot_window: int = 8  # chunks on their way to a peer
    snapshot_patience: float = 1.0  # without an answer for this long, chunks are sent again
    snapshot_attempts: int = 10


class Leadership(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who leads, as this member sees it."""

    term: int = 0
    leader: MemberId | None = None
    is_me: bool = False
    is_established: bool = False  # it is me, and all that was committed before is applied here


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One member, as seen from here; only a leader knows `match` and `is_reachable` of others."""

    id: MemberId
    address: str
    standing: Standing
    match: int | None = None
    is_reachable: bool | None = None


class RaftStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One member's view of the whole, for operators and metrics."""

    id: MemberId
    term: int
    role: str
    leader: MemberId | None
    commit: int
    applied: int
    last_index: int
    snapshot_index: int
    is_member: bool
    waiting: int
    stalls: int
    storage_problem: str | None
    members: tuple[MemberStatus, ...]
