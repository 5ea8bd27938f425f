"""A silent loop is shown once and ended late; a machine that stood still is not its fault."""

from node_agent.watchdog import Silence, Verdict, stacks


def looks(silence: Silence, *, seconds: float, beats: int = 0, begin: float = 0.0) -> list[Verdict]:
    """One look each tenth of a second."""
    return [silence.look(at=begin + number / 10, beats=beats) for number in range(round(seconds * 10) + 1)]


def test_a_loop_that_beats_is_left_alone() -> None:
    silence = Silence()
    assert {silence.look(at=number / 10, beats=number) for number in range(1000)} == {Verdict.WAIT}


def test_silence_is_shown_once_after_an_election_timeout_and_ended_long_after() -> None:
    silence = Silence(show_after=1.2, end_after=15.0)
    said = looks(silence, seconds=16)
    assert said.count(Verdict.SHOW) == 1
    assert said.index(Verdict.SHOW) in (12, 13)
    assert said.index(Verdict.END) in (150, 151)


def test_the_next_silence_is_shown_again() -> None:
    silence = Silence()
    assert looks(silence, seconds=2).count(Verdict.SHOW) == 1
    assert looks(silence, seconds=2, beats=1, begin=3.0).count(Verdict.SHOW) == 1


def test_a_process_that_was_stopped_for_an_hour_goes_on() -> None:
    silence = Silence()
    looks(silence, seconds=0.5)
    assert silence.look(at=3600.0, beats=0) is Verdict.WAIT
    assert silence.seconds < 1.0
    assert silence.look(at=3600.1, beats=1) is Verdict.WAIT


def test_looks_that_come_late_on_a_slow_machine_count_for_little() -> None:
    silence = Silence(end_after=15.0)
    assert Verdict.END not in [silence.look(at=5.0 * number, beats=0) for number in range(70)]


def test_stacks_name_the_threads_and_leave_out_who_asks() -> None:
    assert "test_stacks_name" not in stacks()
