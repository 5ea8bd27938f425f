"""Who is expected together with others."""

from cluster.aio.company import PATIENCE, Company


def test_at_first_nobody_is_expected() -> None:
    company = Company()
    assert not company.is_expected
    assert company.is_there(1)


def test_those_who_were_answered_together_are_expected_with_those_who_came_meanwhile() -> None:
    company = Company()
    company.answered(3, waiting=2)
    assert company.is_expected
    assert not company.is_there(4)
    assert company.is_there(5)


def test_nobody_waits_for_one_alone() -> None:
    company = Company()
    company.answered(1, waiting=7)
    assert not company.is_expected
    assert company.is_there(7)


def test_as_long_as_they_come_the_rest_is_waited_for() -> None:
    company = Company()
    company.answered(9, waiting=0)
    for waiting in (0, 1, 1, 2, 2, 3):
        company.look(waiting)
        assert not company.is_there(waiting)


def test_once_none_came_for_some_moments_none_is_expected() -> None:
    company = Company()
    company.answered(9, waiting=0)
    company.look(4)
    for _ in range(PATIENCE):
        assert company.is_expected
        company.look(4)
    assert not company.is_expected
    assert company.is_there(1)
