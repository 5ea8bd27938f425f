"""What goes over the wire between members: frames of messages, as MessagePack. A frame stays well under 4 MiB."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from manager.raft.core.entries import SnapshotMeta, size_of
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import (
    Append,
    Appended,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Rejected,
    Stale,
    TimeoutNow,
    Vote,
    VoteReply,
)

MAX_FRAME = 1024 * 1024
_MESSAGE_OVERHEAD = 64


class SnapshotPart(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=32):
    """One chunk of a snapshot; after the last one, `number + 1 == count`."""

    term: int
    snapshot: SnapshotMeta
    number: int
    count: int
    chunk: bytes


class SnapshotWanted(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=33):
    """The receiver has all chunks of that snapshot below `number`; it wants that one next, or none if it has all."""

    index: int
    number: int


Said = (
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
    | SnapshotPart
    | SnapshotWanted
)


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Messages to one member, and where their sender is reached: a new member knows nobody's address yet."""

    to: MemberId
    address: str
    said: tuple[Said, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(to: MemberId, address: str, said: Sequence[Said]) -> list[bytes]:
    """As few frames as the limit allows, in order."""
    return [_encoder.encode(Frame(to=to, address=address, said=tuple(part))) for part in _portions(said)]


def decode(frame: bytes) -> Frame:
    """Raises `msgspec.MsgspecError` for what is no frame."""
    return _decoder.decode(frame)


def _portions(said: Sequence[Said]) -> Iterable[Sequence[Said]]:
    if len(said) == 1:
        return (said,)
    return _split(said)


def _split(said: Sequence[Said]) -> Iterator[list[Said]]:
    portion: list[Said] = []
    total = 0
    for one in said:
        size = _size_of(one)
        if portion and total + size > MAX_FRAME:
            yield portion
            portion, total = [], 0
        portion.append(one)
        total += size
    yield portion


def _size_of(one: Said) -> int:
    if isinstance(one, Append):
        return _MESSAGE_OVERHEAD + sum(map(size_of, one.entries))
    if isinstance(one, SnapshotPart):
        return _MESSAGE_OVERHEAD + len(one.chunk)
    return _MESSAGE_OVERHEAD


def core_message(said: Said) -> Message | None:
    """The consensus's part of what is said."""
    return None if isinstance(said, SnapshotPart | SnapshotWanted) else said
