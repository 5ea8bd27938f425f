"""Docker's filters and moments, as their users write them."""

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.api.filters import Filters
from node_agent.api.moments import SECOND, moment, unix


def test_both_spellings_of_filters_are_read() -> None:
    for text in ('{"label":{"a=b":true},"name":{"x":true}}', '{"label":["a=b"],"name":["x"]}'):
        filters = Filters.parse(text)
        assert filters.get("label") == ("a=b",)
        assert "name" in filters
    assert not Filters.parse("")
    assert not Filters.parse("null")
    assert not Filters.parse('{"name":null,"id":{},"label":[]}')
    assert Filters.parse(Filters({"a": ["b", "c"]}).encode()).get("a") == ("b", "c")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"a":1}', '{"a":{"b":true}', '{"a":[1]}', "\x00"])
def test_malformed_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filters"):
        Filters.parse(text)


def test_unknown_filters_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'nme'"):
        Filters.parse('{"nme":{"x":true}}', allowed=("name",))


def test_an_absent_filter_matches_everything() -> None:
    none = Filters()
    assert none.exact("a", "x")
    assert none.prefix("a", "x")
    assert none.contains("a", "x")
    assert none.labels({})
    assert not none.spares({"a": "b"})


def test_values_match_exactly_by_prefix_or_anywhere() -> None:
    filters = Filters({"id": ["abc"], "name": ["we", "^db$"]})
    assert filters.prefix("id", "abcdef")
    assert not filters.prefix("id", "xabc")
    assert not filters.exact("id", "abcdef")
    assert filters.contains("name", "a-web")
    assert filters.contains("name", "db")
    assert not filters.contains("name", "dbx")
    assert not Filters({"name": ["("]}).contains("name", "x")


def test_all_labels_asked_for_must_be_there() -> None:
    filters = Filters({"label": ["a", "b=c"]})
    assert filters.labels({"a": "", "b": "c"})
    assert not filters.labels({"a": "", "b": "d"})
    assert not filters.labels(None)


def test_prune_spares_what_has_all_of_the_labels_named() -> None:
    filters = Filters({"label!": ["a", "b"]})
    assert filters.spares({"a": "", "b": ""})
    assert not filters.spares({"a": ""})


def test_truth_values_are_checked() -> None:
    assert Filters({"dangling": ["1"]}).flag("dangling", default=False)
    assert not Filters({"dangling": ["false"]}).flag("dangling", default=True)
    assert Filters().flag("dangling", default=True)
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling="):
        Filters({"dangling": ["maybe"]}).flag("dangling", default=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1700000000", 1_700_000_000 * SECOND),
        ("1700000000.5", 1_700_000_000 * SECOND + SECOND // 2),
        ("1700000000.000000001", 1_700_000_000 * SECOND + 1),
        ("10m", 1_000_000 * SECOND - 600 * SECOND),
        ("1h30m", 1_000_000 * SECOND - 5400 * SECOND),
        ("1.5s", 1_000_000 * SECOND - 3 * SECOND // 2),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000 * SECOND + 123_456_789),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000 * SECOND),
        ("2023-11-14T22:13:20", 1_700_000_000 * SECOND),
        ("2023-11-14", 1_699_920_000 * SECOND),
    ],
)
def test_a_moment_is_read_in_each_of_dockers_forms(text: str, meant: int) -> None:
    assert moment(text, now=1_000_000 * SECOND) == meant


@pytest.mark.parametrize("text", ["", "yesterday", "-5", "2023-13-01", "2023-11-14T25:00:00Z", "5 m", "1.2.3"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="expected a Unix timestamp"):
        moment(text, now=0)


def test_a_moment_is_told_to_the_engine_to_the_nanosecond() -> None:
    assert unix(1_700_000_000 * SECOND + 7) == "1700000000.000000007"
