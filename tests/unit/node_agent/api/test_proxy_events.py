"""Events of two sources in one order, and which of them are asked for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api.errors import InvalidArgument
from node_agent.api.event_merge import PATIENCE, Actor, Event, Merge, Stamped
from node_agent.api.events import Asked, asked
from node_agent.api.filters import Filters
from node_agent.api.http import Headers
from node_agent.api.messages import ApiRequest, Query
from node_agent.api.versions import NEWEST

A, B = 0, 1


def at(time: int) -> Stamped:
    return Stamped(time, b"%d" % time)


def times(events: list[Stamped]) -> list[int]:
    return [event.time_nano for event in events]


def test_an_event_waits_for_an_earlier_one_of_the_other_source() -> None:
    merge = Merge()
    merge.add(A, at(5), now=0.0)
    assert merge.due(now=0.01) == []
    assert merge.wait(now=0.01) == pytest.approx(PATIENCE - 0.01)
    merge.add(B, at(3), now=0.02)
    assert times(merge.due(now=0.02)) == [3]
    assert times(merge.due(now=PATIENCE)) == [5]


def test_an_event_goes_out_once_the_other_source_is_past_it() -> None:
    merge = Merge()
    merge.add(A, at(5), now=0.0)
    merge.add(B, at(7), now=0.0)
    assert times(merge.due(now=0.0)) == [5]


def test_nothing_waits_for_a_source_that_ended() -> None:
    merge = Merge()
    merge.end(B)
    merge.add(A, at(5), now=0.0)
    assert times(merge.due(now=0.0)) == [5]
    assert merge.wait(now=0.0) is None
    assert not merge.ended
    merge.end(A)
    assert merge.ended


@given(a=st.lists(st.integers(0, 50)), b=st.lists(st.integers(0, 50)))
def test_two_pasts_become_one_in_order_and_nothing_is_lost(a: list[int], b: list[int]) -> None:
    merge = Merge()
    for source, past in ((A, sorted(a)), (B, sorted(b))):
        for time in past:
            merge.add(source, at(time), now=0.0)
        merge.end(source)
    assert times(merge.due(now=0.0)) == sorted(a + b)
    assert merge.ended


def event(kind: str = "service", action: str = "create", id: str = "abcdef", scope: str = "swarm", **attributes: str) -> Event:  # noqa: A002
    return Event(type=kind, action=action, actor=Actor(id=id, attributes=attributes), scope=scope, time_nano=1)


def wanted(filters: dict[str, list[str]]) -> Asked:
    return Asked(Filters(filters), 0, None)


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"type": ["service"]}, True),
        ({"type": ["node"]}, False),
        ({"event": ["create", "remove"]}, True),
        ({"event": ["remove"]}, False),
        ({"scope": ["swarm"]}, True),
        ({"scope": ["local"]}, False),
        ({"service": ["abc"]}, True),
        ({"service": ["web"]}, True),
        ({"service": ["xyz"]}, False),
        ({"node": ["abc"]}, False),
        ({"label": ["a=b"]}, True),
        ({"label": ["a=c"]}, False),
    ],
)
def test_filters_apply_to_the_swarms_events_too(filters: dict[str, list[str]], matches: bool) -> None:
    assert wanted(filters).wants(event(name="web", a="b")) is matches


@pytest.mark.parametrize(
    ("filters", "engine", "swarm"),
    [
        ({}, True, True),
        ({"type": ["service"]}, False, True),
        ({"type": ["container"]}, True, False),
        ({"type": ["network"]}, True, True),
        ({"scope": ["swarm"]}, False, True),
        ({"scope": ["local"]}, True, False),
    ],
)
def test_a_source_that_cannot_have_what_is_asked_for_is_not_asked(filters: dict[str, list[str]], engine: bool, swarm: bool) -> None:
    assert (wanted(filters).engine_too, wanted(filters).swarm_too) == (engine, swarm)


def request(query: str) -> ApiRequest:
    body: Any = None
    return ApiRequest(method="GET", path="/events", query=Query(query), headers=Headers(), version=NEWEST, peer=(), body=body)  # type: ignore[arg-type]


def test_since_and_until_are_read() -> None:
    read = asked(request("since=5&until=7.5"), now=10**18)
    assert (read.since, read.until) == (5 * 10**9, 7_500_000_000)
    assert (asked(request(""), now=10**18).since, asked(request(""), now=10**18).until) == (10**18, None)


def test_events_until_a_moment_that_is_over_are_none() -> None:
    read = asked(request("until=5"), now=10**18)
    assert read.since == read.until == 5 * 10**9


@pytest.mark.parametrize("query", ["since=7&until=5", "since=x", 'filters={"nme":{"a":true}}', "filters=x"])
def test_what_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(InvalidArgument):
        asked(request(query), now=10**18)
