"""What members say to one another. Who sent it is told by the transport, which has checked it; every message has its term."""

import msgspec

from manager.raft.core.entries import Entry


class PreVote(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=1):
    """Would you vote for me in `term`, which I have not begun yet? (thesis 9.6)"""

    term: int
    last_index: int
    last_term: int


class PreVoteReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=2):
    """A grant carries the term asked about, a refusal the refuser's own."""

    term: int
    granted: bool


class Vote(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=3):
    """RequestVote (paper 5.2); `transfer` says that the leader itself asked for this election (thesis 3.10, 4.2.3)."""

    term: int
    last_index: int
    last_term: int
    transfer: bool = False


class VoteReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=4):
    """The vote is durable when this leaves."""

    term: int
    granted: bool


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=5):
    """AppendEntries (paper 5.3)."""

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...] = ()


class Appended(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=6):
    """My log equals yours up to `match`, and that much is durable here."""

    term: int
    match: int


class Rejected(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=7):
    """I have no entry `prev_index` of your term; at `hint_index` I have one of `hint_term` (paper 5.3, end)."""

    term: int
    prev_index: int
    hint_index: int
    hint_term: int


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=8):
    """I am still the leader; `round` numbers the question, so that an answer to it confirms reads (thesis 6.4)."""

    term: int
    commit: int
    round: int


class HeartbeatReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=9):
    """You still are, for me."""

    term: int
    round: int


class Stale(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=10):
    """You speak as leader of a term that is over; mine is `term`."""

    term: int


class TimeoutNow(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=11):
    """Start an election at once: I hand over to you (thesis 3.10)."""

    term: int


class ReadRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=12):
    """A follower asks the leader for a read index (thesis 6.4)."""

    term: int
    request: int


class ReadReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=13):
    """Whoever has applied `index` may answer that read."""

    term: int
    request: int
    index: int


class Committed(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=14):
    """Of what you told me is durable at yours, this much is committed. Needs no answer: the next heartbeat says it again."""

    term: int
    commit: int


Message = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | Appended
    | Rejected
    | Heartbeat
    | HeartbeatReply
    | Stale
    | TimeoutNow
    | ReadRequest
    | ReadReply
    | Committed
)
