"""The core's rules one by one, each test named after what the paper or the thesis demands; events in, effects out.

Whole stories are in tests/scripts/raft; these are the single steps.
"""

from collections.abc import Sequence
from typing import TypeVar

import pytest

from manager.raft.core.core import Core
from manager.raft.core.effects import Apply, Effect, Linger, Persist, Proposed, ReadFailed, ReadReady, Refusal, Refused, Send, SendSnapshot
from manager.raft.core.entries import Command, Configure, Entry, HardState, Noop, SnapshotMeta, Stored
from manager.raft.core.events import (
    AwaitsCommit,
    Event,
    Persisted,
    Propose,
    ReadIndex,
    Received,
    SnapshotArrived,
    SnapshotSaved,
    SnapshotSent,
    TellCommit,
    Tick,
    Unreachable,
)
from manager.raft.core.log import Violation
from manager.raft.core.membership import Member, MemberId, Membership
from manager.raft.core.messages import (
    Append,
    Appended,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadRequest,
    Rejected,
    Stale,
    Vote,
    VoteReply,
)
from manager.raft.core.state import Candidate, Follower, Leader, PreCandidate, Settings

A, B, C = MemberId("a"), MemberId("b"), MemberId("c")
THREE = Membership(members=tuple(Member(id=name, address=name) for name in (A, B, C)))
FOUNDING = Configure(index=1, term=1, membership=THREE)
SETTINGS = Settings(
    heartbeat_ticks=1, election_ticks=4, max_append_bytes=200, max_flights=2, max_entry_bytes=100, max_uncommitted_bytes=500
)
E = TypeVar("E", bound=Effect)


def commands(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(Command(index=first + at, term=term, payload=b"x") for at, term in enumerate(terms))


class Bench:
    """A core named a whose disk is as fast as asked: `write` lets it finish all it was ordered."""

    def __init__(self, *entries: Entry, term: int = 1, vote: MemberId | None = None, commit: int = 1) -> None:
        stored = Stored(hard=HardState(term=term, vote=vote), entries=(FOUNDING, *entries), commit=commit)
        self.core = Core(A, stored=stored, draw=lambda _: 0, settings=SETTINGS)
        self.effects: list[Effect] = self.core.step_all(())

    def step(self, *events: Event) -> list[Effect]:
        self.effects = self.core.step_all(events)
        return self.effects

    def hear(self, sender: MemberId, message: Message) -> list[Effect]:
        return self.step(Received(sender=sender, message=message))

    def write(self) -> list[Effect]:
        pending = self.core.state._tickets
        return self.step(Persisted(ticket=pending[-1][0])) if pending else []

    def of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def said(self) -> list[Message]:
        """What leaves at once."""
        return [send.message for send in self.of(Send)]

    def held(self) -> list[Message]:
        """What leaves once the disk is done."""
        return [send.message for persist in self.of(Persist) for send in persist.release]

    def elected(self) -> "Bench":
        """It leads the next term; its first entry is durable on a and b."""
        for _ in range(4):
            self.step(Tick())
        self.hear(B, PreVoteReply(term=self.core.state.term + 1, granted=True))
        self.write()
        self.hear(B, VoteReply(term=self.core.state.term, granted=True))
        assert isinstance(self.core.state.role, Leader)
        self.write()
        self.hear(B, Appended(term=self.core.state.term, match=self.core.state.log.last_index))
        return self


# Paper 5.1 and 5.2


def test_5_1_a_newer_term_makes_any_member_a_follower_of_that_term() -> None:
    bench = Bench().elected()
    bench.hear(C, Heartbeat(term=9, commit=0, round=1))
    assert (bench.core.state.term, bench.core.state.leader) == (9, C)


def test_5_1_an_older_term_is_told_that_it_is_over() -> None:
    bench = Bench(term=5)
    bench.hear(B, Heartbeat(term=4, commit=0, round=1))
    assert bench.said() == [Stale(term=5)]


def test_5_2_a_member_votes_once_a_term_first_come_first_served() -> None:
    bench = Bench()
    bench.hear(B, Vote(term=2, last_index=1, last_term=1))
    assert bench.held() == [VoteReply(term=2, granted=True)]
    bench.hear(C, Vote(term=2, last_index=1, last_term=1))
    assert bench.held() == [VoteReply(term=2, granted=False)]
    bench.hear(B, Vote(term=2, last_index=1, last_term=1))
    assert bench.held() == [VoteReply(term=2, granted=True)]


def test_5_2_a_vote_leaves_only_with_the_write_that_remembers_it() -> None:
    bench = Bench()
    bench.hear(B, Vote(term=2, last_index=1, last_term=1))
    (persist,) = bench.of(Persist)
    assert persist.hard == HardState(term=2, vote=B)
    assert bench.said() == []


def test_5_2_a_candidate_counts_its_own_vote_when_that_is_durable() -> None:
    bench = Bench()
    for _ in range(4):
        bench.step(Tick())
    bench.hear(B, PreVoteReply(term=2, granted=True))
    assert isinstance(bench.core.state.role, Candidate)
    bench.hear(B, VoteReply(term=2, granted=True))
    assert isinstance(bench.core.state.role, Candidate)
    bench.write()
    assert isinstance(bench.core.state.role, Leader)


def test_5_2_a_candidate_follows_whoever_leads_its_term() -> None:
    bench = Bench()
    for _ in range(4):
        bench.step(Tick())
    bench.hear(B, PreVoteReply(term=2, granted=True))
    bench.hear(C, Heartbeat(term=2, commit=0, round=1))
    assert bench.core.state.leader == C


def test_5_2_two_leaders_of_one_term_stop_the_member() -> None:
    bench = Bench().elected()
    with pytest.raises(Violation):
        bench.hear(B, Heartbeat(term=2, commit=0, round=1))


def test_5_2_who_hears_nothing_stands_after_its_timeout_and_not_before() -> None:
    bench = Bench()
    for _ in range(3):
        bench.step(Tick())
    assert isinstance(bench.core.state.role, Follower)
    bench.step(Tick())
    assert isinstance(bench.core.state.role, PreCandidate)


# Paper 5.3


def test_5_3_entries_leave_at_once_and_are_written_meanwhile() -> None:
    bench = Bench().elected()
    bench.step(Propose(request=7, payloads=(b"x", b"y")))
    assert [type(effect) for effect in bench.effects if not isinstance(effect, Send)] == [Proposed, Persist]
    appended = [message.entries for message in bench.said() if isinstance(message, Append) and message.entries]
    assert [entry.index for entry in appended[0]] == [3, 4]


def test_5_3_an_append_is_answered_once_its_entries_are_durable() -> None:
    bench = Bench()
    bench.hear(B, Append(term=1, prev_index=1, prev_term=1, commit=1, entries=commands(2, 1, 1)))
    assert bench.held() == [Appended(term=1, match=3)]
    assert bench.said() == []


def test_5_3_an_answer_that_depends_on_a_write_under_way_waits_for_it() -> None:
    bench = Bench()
    bench.hear(B, Append(term=1, prev_index=1, prev_term=1, commit=1, entries=commands(2, 1)))
    bench.hear(B, Append(term=1, prev_index=1, prev_term=1, commit=1, entries=commands(2, 1)))
    assert bench.said() == []
    assert bench.held() == [Appended(term=1, match=2)]


def test_5_3_an_append_that_does_not_fit_is_refused_with_a_hint() -> None:
    bench = Bench(*commands(2, 1, 3, 3, 3), term=3)
    bench.hear(B, Append(term=4, prev_index=5, prev_term=2, commit=1))
    assert Rejected(term=4, prev_index=5, hint_index=2, hint_term=1) in bench.held()


def test_5_3_a_match_counts_only_as_far_as_the_append_went() -> None:
    """What lies beyond may be another leader's, and is not confirmed."""
    bench = Bench(*commands(2, 1, 1, 1))
    bench.hear(B, Append(term=2, prev_index=1, prev_term=1, commit=9, entries=commands(2, 1)))
    assert bench.held() == [Appended(term=2, match=2)]
    assert bench.core.state.log.commit == 2


def test_6_4_a_heartbeat_is_answered_without_waiting_for_entries_under_way() -> None:
    bench = Bench()
    bench.hear(B, Append(term=1, prev_index=1, prev_term=1, commit=1, entries=commands(2, 1)))
    bench.hear(B, Heartbeat(term=1, commit=1, round=7))
    assert bench.said() == [HeartbeatReply(term=1, round=7)]


def test_5_1_the_first_answer_in_a_term_waits_until_the_term_is_durable() -> None:
    bench = Bench()
    bench.hear(B, Heartbeat(term=2, commit=1, round=1))
    assert bench.said() == []
    assert bench.held() == [HeartbeatReply(term=2, round=1)]


# Paper 5.4


def test_5_4_1_no_vote_for_a_log_that_lacks_entries() -> None:
    bench = Bench(*commands(2, 1, 1))
    bench.hear(B, Vote(term=2, last_index=2, last_term=1))
    assert bench.held() == [VoteReply(term=2, granted=False)]


def test_5_4_2_an_entry_of_an_earlier_term_is_committed_with_one_of_the_leaders_own() -> None:
    bench = Bench(*commands(2, 1, 1))
    for _ in range(4):
        bench.step(Tick())
    bench.hear(B, PreVoteReply(term=2, granted=True))
    bench.write()
    bench.hear(B, VoteReply(term=2, granted=True))
    bench.write()
    bench.hear(B, Appended(term=2, match=3))
    assert bench.core.state.log.commit == 1
    bench.hear(B, Appended(term=2, match=4))
    assert [entry.index for apply in bench.of(Apply) for entry in apply.entries] == [2, 3, 4]


def test_8_a_new_leader_begins_with_an_entry_of_its_own() -> None:
    bench = Bench().elected()
    assert bench.core.state.log.between(1, 2) == (Noop(index=2, term=2),)


# Paper 7


def test_7_a_peer_behind_the_log_is_sent_a_snapshot_once() -> None:
    stored = Stored(
        hard=HardState(term=1), snapshot=SnapshotMeta(index=50, term=1, membership=THREE), base_index=50, base_term=1, commit=50
    )
    bench = Bench()
    bench.core = Core(A, stored=stored, draw=lambda _: 0, settings=SETTINGS)
    bench.elected()
    bench.hear(C, Rejected(term=2, prev_index=50, hint_index=3, hint_term=1))
    assert bench.of(SendSnapshot) == [SendSnapshot(to=C, snapshot=stored.snapshot)]
    bench.hear(C, HeartbeatReply(term=2, round=1))
    assert bench.of(SendSnapshot) == []
    bench.step(SnapshotSent(to=C, index=50, arrived=True))
    bench.hear(C, HeartbeatReply(term=2, round=2))
    assert [message.prev_index for message in bench.said() if isinstance(message, Append)] == [50]


def test_7_a_peer_that_needs_a_newer_snapshot_while_one_is_on_its_way_is_offered_it_after_that() -> None:
    stored = Stored(
        hard=HardState(term=1), snapshot=SnapshotMeta(index=50, term=1, membership=THREE), base_index=50, base_term=1, commit=50
    )
    bench = Bench()
    bench.core = Core(A, stored=stored, draw=lambda _: 0, settings=SETTINGS)
    bench.elected()
    bench.hear(C, Rejected(term=2, prev_index=50, hint_index=3, hint_term=1))
    bench.hear(B, Appended(term=2, match=51))
    newer = SnapshotMeta(index=51, term=2, membership=THREE)
    bench.step(SnapshotSaved(snapshot=newer, keep_from=52))
    bench.hear(C, Appended(term=2, match=50))
    assert bench.of(SendSnapshot) == [SendSnapshot(to=C, snapshot=newer)]  # the shell is not done with the first, and sends one at a time
    bench.step(SnapshotSent(to=C, index=50, arrived=True))
    bench.hear(C, HeartbeatReply(term=2, round=1))
    assert bench.of(SendSnapshot) == [SendSnapshot(to=C, snapshot=newer)]


def test_7_a_snapshot_of_what_is_there_already_is_not_installed() -> None:
    bench = Bench(*commands(2, 1, 1, 1))
    bench.step(SnapshotArrived(sender=B, term=1, snapshot=SnapshotMeta(index=3, term=1, membership=THREE)))
    assert bench.core.state.log.last_index == 4
    assert bench.core.state.log.commit == 3
    assert bench.said() == [Appended(term=1, match=3)]


def test_7_a_snapshot_of_an_older_term_is_ignored() -> None:
    bench = Bench(term=5)
    assert bench.step(SnapshotArrived(sender=B, term=4, snapshot=SnapshotMeta(index=90, term=4, membership=THREE))) == []


# Thesis


def test_thesis_9_6_asking_first_changes_neither_term_nor_vote() -> None:
    bench = Bench()
    for _ in range(4):
        bench.step(Tick())
    assert bench.said() == [PreVote(term=2, last_index=1, last_term=1)] * 2
    assert bench.of(Persist) == []


def test_thesis_4_2_3_who_hears_a_leader_helps_nobody_to_replace_it() -> None:
    bench = Bench()
    bench.hear(B, Heartbeat(term=1, commit=1, round=1))
    assert bench.hear(C, PreVote(term=2, last_index=9, last_term=1)) == []
    assert bench.hear(C, Vote(term=2, last_index=9, last_term=1)) == []
    bench.hear(C, Vote(term=2, last_index=9, last_term=1, transfer=True))
    assert bench.held() == [VoteReply(term=2, granted=True)]


def test_thesis_4_2_3_a_leader_that_asks_for_votes_leads_no_more_and_is_answered() -> None:
    bench = Bench()
    bench.hear(B, Heartbeat(term=1, commit=1, round=1))
    bench.hear(B, PreVote(term=2, last_index=1, last_term=1))
    assert bench.said() == [PreVoteReply(term=2, granted=True)]


def test_thesis_6_2_a_leader_without_a_majority_steps_down() -> None:
    bench = Bench().elected()
    for _ in range(8):
        bench.step(Tick())
    assert isinstance(bench.core.state.role, Follower)


def test_thesis_6_4_a_read_needs_a_majority_that_was_asked_after_it() -> None:
    bench = Bench().elected()
    bench.step(Tick())
    bench.step(ReadIndex(request=1))
    bench.hear(B, HeartbeatReply(term=2, round=1))
    assert bench.of(ReadReady) == []
    bench.hear(B, HeartbeatReply(term=2, round=2))
    assert bench.of(ReadReady) == [ReadReady(request=1, index=2)]


def test_thesis_6_4_reads_that_come_together_share_a_round() -> None:
    bench = Bench().elected()
    bench.step(ReadIndex(request=1), ReadIndex(request=2), Received(sender=C, message=ReadRequest(term=2, request=3)))
    assert len([message for message in bench.said() if isinstance(message, Heartbeat)]) == 2


def test_thesis_6_4_without_a_leader_a_read_fails_and_may_be_asked_again() -> None:
    bench = Bench()
    assert bench.step(ReadIndex(request=1)) == [ReadFailed(request=1)]


def test_thesis_10_2_1_appends_on_their_way_are_limited() -> None:
    bench = Bench().elected()
    for _ in range(5):
        bench.step(Propose(request=1, payloads=(bytes(90),)))
    flights = [p.mode for p in bench.core.state.role.progress.values()]  # type: ignore[union-attr]
    assert max(len(getattr(mode, "flights", ())) for mode in flights) == 2


def test_messages_that_were_dropped_are_asked_about_and_sent_again() -> None:
    bench = Bench().elected()
    bench.step(Propose(request=1, payloads=(b"x",)))
    bench.step(Unreachable(member=B))
    assert [message.prev_index for message in bench.said() if isinstance(message, Append)] == [2]


# Limits


@pytest.mark.parametrize(
    ("payloads", "why"),
    [((bytes(101),), Refusal.TOO_LARGE), ((bytes(90),) * 5, None)],
    ids=["too large", "the first may be as large as it is"],
)
def test_proposals_are_bounded(payloads: Sequence[bytes], why: Refusal | None) -> None:
    bench = Bench().elected()
    bench.step(Propose(request=1, payloads=tuple(payloads)))
    assert [refused.why for refused in bench.of(Refused)] == ([why] if why else [])


def test_what_waits_for_a_quorum_is_bounded_and_has_room_again_after_it() -> None:
    bench = Bench().elected()
    bench.step(Propose(request=1, payloads=(bytes(90),) * 3))
    bench.step(Propose(request=2, payloads=(bytes(90),) * 3))
    assert [refused.why for refused in bench.of(Refused)] == [Refusal.TOO_MUCH_UNCOMMITTED]
    bench.write()
    bench.hear(B, Appended(term=2, match=5))
    bench.step(Propose(request=3, payloads=(bytes(90),) * 3))
    assert bench.of(Refused) == []


def test_only_a_leader_takes_proposals() -> None:
    bench = Bench()
    bench.step(Propose(request=1, payloads=(b"x",)))
    assert bench.effects == [Refused(request=1, why=Refusal.NOT_LEADER)]


# The news of a commit


def test_a_commit_rides_with_the_next_entries() -> None:
    bench = Bench().elected()
    assert Linger() in bench.effects
    bench.step(Propose(request=1, payloads=(b"x",)))
    bench.step(TellCommit())
    assert bench.said() == []


def test_a_commit_that_nothing_follows_is_told_in_a_moment_and_as_far_as_it_is_shared() -> None:
    bench = Bench().elected()
    bench.step(TellCommit())
    assert bench.effects == [Send(to=B, message=Committed(term=2, commit=2))]


def test_a_commit_that_somebody_waits_for_is_told_at_once() -> None:
    bench = Bench().elected()
    bench.step(AwaitsCommit(member=B))
    assert bench.said() == [Committed(term=2, commit=2)]
    bench.step(TellCommit())
    assert bench.said() == [], "it is no news any more"


def test_a_commit_of_what_is_proposed_next_is_told_at_once_where_somebody_waits_for_it() -> None:
    bench = Bench().elected()
    bench.step(TellCommit())
    bench.step(AwaitsCommit(member=B), Propose(request=1, payloads=(b"x",)))
    bench.write()
    bench.hear(B, Appended(term=2, match=3))
    assert bench.said() == [Committed(term=2, commit=3)]


def test_a_commit_that_somebody_waits_for_rides_with_entries_that_leave_now() -> None:
    bench = Bench().elected()
    bench.step(AwaitsCommit(member=B), Propose(request=1, payloads=(b"x",)))
    assert [(type(message), message.commit) for message in bench.said()] == [(Append, 2)]


def test_a_follower_that_is_told_of_a_commit_applies_and_does_not_answer() -> None:
    bench = Bench(*commands(2, 1))
    bench.hear(B, Committed(term=1, commit=2))
    assert bench.said() == []
    assert [entry.index for apply in bench.of(Apply) for entry in apply.entries] == [2]


def began_empty(stored: Stored = Stored()) -> Bench:  # noqa: B008 - it is frozen
    bench = Bench()
    bench.core = Core(A, stored=stored, draw=lambda _: 0, settings=SETTINGS)
    return bench


def grants(bench: Bench, term: int) -> bool:
    """To one whose log has everything, whom no leader is known to be against."""
    for _ in range(2 * SETTINGS.election_ticks):
        bench.step(Tick())
    bench.hear(B, Vote(term=term, last_index=99, last_term=6))
    (reply,) = [message for message in bench.held() if isinstance(message, VoteReply)]
    return reply.granted


def test_4_1_who_begins_with_an_empty_log_votes_only_once_it_has_what_was_committed_by_then() -> None:
    """It may be a member that lost its log: what it had voted, and acknowledged, it does not know any more."""
    bench = began_empty()
    assert not grants(bench, term=5)
    bench.hear(C, Append(term=6, prev_index=0, prev_term=0, commit=3, entries=(FOUNDING, *commands(2, 1))))
    assert not grants(bench, term=7)
    again = began_empty(Stored(hard=bench.core.state._hard, entries=(FOUNDING, *commands(2, 1)), commit=2))
    assert not grants(again, term=8), "a restart makes no difference"
    again.hear(C, Append(term=9, prev_index=2, prev_term=1, commit=3, entries=commands(3, 1)))
    assert grants(again, term=10)


def test_4_1_before_that_it_does_not_stand_either_though_its_log_says_that_it_is_a_voter() -> None:
    bench = began_empty()
    bench.hear(C, Append(term=6, prev_index=0, prev_term=0, commit=3, entries=(FOUNDING, *commands(2, 1))))
    for _ in range(4 * SETTINGS.election_ticks):
        bench.step(Tick())
        assert bench.said() == []
    bench.hear(C, Append(term=6, prev_index=2, prev_term=1, commit=3, entries=commands(3, 1)))
    said: list[Message] = []
    for _ in range(4 * SETTINGS.election_ticks):
        bench.step(Tick())
        said += bench.said()
    assert any(isinstance(message, PreVote) for message in said)
