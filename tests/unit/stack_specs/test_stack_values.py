"""Scalars mean what docker's YAML decoder takes them for, and show as docker shows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.values import Timestamp, resolve, show


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("0444", 0o444),
        ("0o444", 0o444),
        ("0x1F", 31),
        ("-0x1f", -31),
        ("0b11", 3),
        ("0B1", 1),
        ("1_000", 1000),
        ("08", 8.0),
        ("09.5", 9.5),
        ("0o8", "0o8"),
        ("0x", "0x"),
        ("22:22", "22:22"),
        ("190:20:30", "190:20:30"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("+.5", 0.5),
        ("1e3", 1000.0),
        ("1e400", "1e400"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("<<", "<<"),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        (".5.6", ".5.6"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", float(2**64)),
        ("-9223372036854775809", -float(2**63)),
        ("10m", "10m"),
        ("node.role==manager", "node.role==manager"),
    ],
)
def test_a_plain_scalar_is_what_docker_takes_it_for(written: str, value: object) -> None:
    found = resolve(written)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2001-12-14", "2001-12-14 00:00:00 +0000 UTC"),
        ("2001-1-2", "2001-01-02 00:00:00 +0000 UTC"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.1 -0500 -0500"),
        ("2001-12-14 21:59:43.10", "2001-12-14 21:59:43.1 +0000 UTC"),
        ("2001-12-15T2:59:43Z", "2001-12-15 02:59:43 +0000 UTC"),
    ],
)
def test_a_date_is_a_moment_in_time_and_shows_as_one(written: str, shown: str) -> None:
    moment = resolve(written)
    assert isinstance(moment, Timestamp)
    assert show(moment) == shown


@pytest.mark.parametrize("written", ["2001-02-30", "2001-13-01", "01-01-2001", "2001-12-14 21:59:43 -5", "2001-12-14T25:00:00Z", "2001-12"])
def test_what_only_resembles_a_date_is_text(written: str) -> None:
    assert resolve(written) == written


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (31, "31"),
        (1.5, "1.5"),
        (1000.0, "1000"),
        (123456.0, "123456"),
        (1000000.0, "1e+06"),
        (123456789.0, "1.23456789e+08"),
        (1e20, "1e+20"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-0.0, "-0"),
        (-9.223372036854776e18, "-9.223372036854776e+18"),
        ("1.50", "1.50"),
    ],
)
def test_a_number_shows_with_the_fewest_digits(value: bool | int | float | str | None, shown: str) -> None:
    assert show(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_fraction_gives_the_number_back(number: float) -> None:
    assert float(show(number)) == number


@given(st.integers(min_value=-(2**63), max_value=2**64 - 1))
def test_the_text_of_a_whole_number_gives_the_number_back(number: int) -> None:
    assert resolve(show(number)) == number


@given(st.text(min_size=1))
def test_every_text_is_some_value(text: str) -> None:
    show(resolve(text))
