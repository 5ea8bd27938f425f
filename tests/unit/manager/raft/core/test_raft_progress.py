"""What a leader thinks of a peer: one question while it guesses, many messages while it knows, none during a snapshot."""

from manager.raft.core.progress import Probe, Progress, Replicate, Streaming

LIMITS = {"max_flights": 3, "max_bytes": 1000}


def following() -> Progress:
    progress = Progress(following=10)
    assert progress.accepted(10)
    return progress


def test_it_begins_by_asking_once() -> None:
    progress = Progress(following=10)
    assert progress.next == 11
    progress.sent(count=1, size=10, commit=0)
    assert progress.is_paused(**LIMITS)
    progress.heard(round_=1)
    assert not progress.is_paused(**LIMITS)


def test_after_the_first_answer_messages_go_out_ahead_of_the_answers() -> None:
    progress = following()
    for _ in range(3):
        assert not progress.is_paused(**LIMITS)
        progress.sent(count=2, size=10, commit=0)
    assert progress.next == 17
    assert progress.is_paused(**LIMITS)
    progress.accepted(12)
    assert not progress.is_paused(**LIMITS)


def test_bytes_on_their_way_are_limited_too() -> None:
    progress = following()
    progress.sent(count=1, size=1000, commit=0)
    assert progress.is_paused(**LIMITS)


def test_a_refusal_while_following_means_a_loss_so_it_asks_again_from_what_is_certain() -> None:
    progress = following()
    progress.sent(count=5, size=10, commit=0)
    progress.rejected(15, 12)
    assert isinstance(progress.mode, Probe)
    assert progress.next == 11


def test_a_refusal_while_asking_skips_to_the_hint() -> None:
    progress = Progress(following=100)
    progress.rejected(100, 40)
    assert progress.next == 41


def test_an_old_refusal_changes_nothing() -> None:
    progress = following()
    progress.rejected(7, 3)
    assert isinstance(progress.mode, Replicate)
    asking = Progress(following=100)
    asking.rejected(90, 40)
    assert asking.next == 101


def test_nothing_is_sent_during_a_snapshot_and_asking_begins_after_it() -> None:
    progress = following()
    progress.stream(50)
    assert progress.is_paused(**LIMITS)
    progress.streamed(50, arrived=True)
    assert progress.next == 51
    assert progress.is_paused(**LIMITS)  # until it is heard of again


def test_a_snapshot_that_failed_is_offered_again_from_what_is_certain() -> None:
    progress = following()
    progress.stream(50)
    progress.streamed(50, arrived=False)
    assert progress.next == 11


def test_a_newer_snapshot_is_offered_again_once_the_one_under_way_has_ended() -> None:
    progress = following()
    progress.stream(50)
    progress.accepted(50)
    progress.stream(90)  # the log was cut meanwhile
    progress.streamed(50, arrived=True)
    assert progress.is_paused(**LIMITS)
    progress.heard(round_=1)
    assert not progress.is_paused(**LIMITS)
    assert progress.next == 51


def test_an_answer_past_the_snapshot_ends_it() -> None:
    progress = following()
    progress.stream(50)
    progress.accepted(49)
    assert isinstance(progress.mode, Streaming)
    progress.accepted(50)
    assert isinstance(progress.mode, Replicate)


def test_dropped_messages_end_the_optimism() -> None:
    progress = following()
    progress.sent(count=5, size=10, commit=0)
    progress.dropped()
    assert (progress.next, isinstance(progress.mode, Probe)) == (11, True)


def test_a_learner_has_caught_up_when_a_round_takes_less_than_an_election_timeout() -> None:
    slow = Progress(following=100)
    slow.accepted(100)
    slow.measure(now=50, last_index=300, within=10)
    assert not slow.caught_up
    slow.accepted(300)
    slow.measure(now=55, last_index=310, within=10)
    assert slow.caught_up


def test_a_learner_that_lacks_nothing_has_caught_up_however_long_it_took() -> None:
    slow = Progress(following=100)
    slow.accepted(100)
    slow.measure(now=5000, last_index=100, within=10)
    assert slow.caught_up


def test_who_answered_in_the_last_two_periods_is_reachable() -> None:
    progress = following()
    progress.heard(round_=1)
    progress.begin_period()
    assert progress.is_reachable
    progress.begin_period()
    assert not progress.is_reachable
