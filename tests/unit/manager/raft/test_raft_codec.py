"""Frames between members: every message comes back as it was, and no frame is too large for the stream."""

import msgspec
import pytest

from manager.raft import codec
from manager.raft.codec import MAX_FRAME, Said, SnapshotPart, SnapshotWanted
from manager.raft.core.entries import Command, Configure, Noop, SnapshotMeta
from manager.raft.core.membership import Member, MemberId, Membership
from manager.raft.core.messages import (
    Append,
    Appended,
    Committed,
    Heartbeat,
    HeartbeatReply,
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

ONE = Membership(members=(Member(id=MemberId("a"), address="a:1"),))
ALL: list[Said] = [
    PreVote(term=1, last_index=2, last_term=1),
    PreVoteReply(term=1, granted=True),
    Vote(term=1, last_index=2, last_term=1, transfer=True),
    VoteReply(term=1, granted=False),
    Append(term=3, prev_index=1, prev_term=1, commit=1, entries=(Noop(index=2, term=3), Command(index=3, term=3, payload=b"\x00x"),
           Configure(index=4, term=3, membership=ONE))),
    Appended(term=1, match=2),
    Rejected(term=1, prev_index=2, hint_index=1, hint_term=1),
    Heartbeat(term=1, commit=1, round=9),
    HeartbeatReply(term=1, round=9),
    Stale(term=4),
    TimeoutNow(term=1),
    ReadRequest(term=1, request=2**62),
    ReadReply(term=1, request=2**62, index=3),
    Committed(term=1, commit=3),
    SnapshotPart(term=1, snapshot=SnapshotMeta(index=9, term=1, membership=ONE), number=0, count=2, chunk=b"x"),
    SnapshotWanted(index=9, number=1),
]  # fmt: skip

# What release 0.1 sends; every later one must read it.
GOLDEN_FRAME = (
    "93a162a3613a31dc00109401010201930201c39503010201c3930401c2960503010101939300020394010303c402007894020403919193a161a3613a"
    "31a5766f74657293060102950701020101940801010993090109920a04920b01930c01cf4000000000000000940d01cf400000000000000003930e01"
    "03962001930901919193a161a3613a31a5766f7465720002c4017893210901"
)


def test_every_message_comes_back_as_it_was() -> None:
    (frame,) = codec.encode(MemberId("b"), "a:1", ALL)
    opened = codec.decode(frame)
    assert (opened.to, opened.address, list(opened.said)) == ("b", "a:1", ALL)


def test_no_kind_of_message_is_missing_here() -> None:
    assert {type(said) for said in ALL} == set(Said.__args__)  # type: ignore[attr-defined]


def test_what_is_too_much_for_one_frame_goes_in_several_in_order() -> None:
    append = Append(term=1, prev_index=0, prev_term=0, commit=0, entries=(Command(index=1, term=1, payload=bytes(400_000)),))
    frames = codec.encode(MemberId("b"), "a:1", [append] * 5)
    assert len(frames) > 1
    assert max(map(len, frames)) < MAX_FRAME + 1000
    assert [said for frame in frames for said in codec.decode(frame).said] == [append] * 5


@pytest.mark.parametrize("frame", [b"", b"\xff", b"\x93\xa1b\xa1a\x91\x92\x63\x01", b"\x80"])
def test_what_is_no_frame_is_said_to_be_none(frame: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        codec.decode(frame)


def test_the_bytes_of_this_release_are_read_by_every_later_one() -> None:
    (frame,) = codec.encode(MemberId("b"), "a:1", ALL)
    assert frame.hex() == GOLDEN_FRAME
    assert list(codec.decode(bytes.fromhex(GOLDEN_FRAME)).said) == ALL


def test_fields_that_a_later_release_adds_are_passed_over() -> None:
    later = msgspec.msgpack.encode(["b", "a:1", [[8, 1, 1, 9, "something new"]]])
    assert codec.decode(later).said == (Heartbeat(term=1, commit=1, round=9),)
