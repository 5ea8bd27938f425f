"""Durations, sizes and CPU shares read as docker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.units import Duration, duration, nano_cpus, single_precision, size

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("10s", 10 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("1h1h", 7200 * SECOND),
        ("500ms", SECOND // 2),
        ("1us", 1000),
        ("1µs", 1000),
        ("7ns", 7),
        ("-5s", -5 * SECOND),
        ("+5s", 5 * SECOND),
    ],
)
def test_a_duration_reads_as(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "10", "1d", "s", ".s", "1.5", "1 s", "soon", "9999999h", "--5s", "1s-"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (7, "7ns"),
        (1500, "1.5µs"),
        (SECOND // 2, "500ms"),
        (SECOND, "1s"),
        (90 * SECOND, "1m30s"),
        (5400 * SECOND, "1h30m0s"),
        (-5 * SECOND, "-5s"),
        (5580 * SECOND + 2000, "1h33m0.000002s"),
    ],
)
def test_a_duration_shows_as(nanoseconds: int, text: str) -> None:
    assert str(Duration(nanoseconds)) == text


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_what_a_duration_shows_reads_back(nanoseconds: int) -> None:
    assert abs(duration(str(Duration(nanoseconds))) - nanoseconds) <= 1


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("100", 100),
        ("10b", 10),
        ("1k", 1024),
        ("50M", 50 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("2gb", 2**31),
        ("1mIb", 2**20),
        ("1e3", 1000),
        ("0.1", 0),
        ("1t", 2**40),
    ],
)
def test_a_size_reads_as(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "-1", "5x", "10kk", "10bb", "k", " 5m", "5  m", "1,5g", "inf", "99999p", "10 k b"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        size(text)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0.25", 250_000_000),
        ("1/4", 250_000_000),
        ("2", 2 * SECOND),
        ("1e-3", 1_000_000),
        (".5", SECOND // 2),
        ("5.", 5 * SECOND),
        ("-1", -SECOND),
    ],
)
def test_a_share_of_cpus_reads_as(text: str, nanos: int) -> None:
    assert nano_cpus(text) == nanos


@pytest.mark.parametrize("text", ["", "x", " 1", "0.0000000001", "1/3", "1/0", "1.5/2", ".", "1e99"])
def test_what_is_no_share_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        nano_cpus(text)


@pytest.mark.parametrize(("number", "held"), [(0.3, 0.3), (0.123456789, 0.12345679), (0.0, 0.0), (1.0, 1.0)])
def test_a_ratio_is_held_in_single_precision(number: float, held: float) -> None:
    assert single_precision(number) == held
