"""Kinds and keys are checked as docker checks them, and refusals say what to write instead."""

import pytest

from stack_specs import grammar, schema
from stack_specs.errors import Fault
from stack_specs.values import Value, resolve


def fault(value: Value, shape: schema.Shape, minor: int = 13) -> str:
    with pytest.raises(Fault) as caught:
        schema.check(value, shape, minor=minor)
    return str(caught.value)


def stack(service: dict[str, Value]) -> dict[str, Value]:
    return {"services": {"web": {"image": "nginx", **service}}}


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("a", grammar.TEXT),
        (3, grammar.INTEGER),
        (3.0, grammar.INTEGER),
        (2.5, grammar.NUMBER),
        (True, grammar.TRUTH),
        (["a", "b"], grammar.SET),
        ({"a": 1, "b": None, "c": "x"}, grammar.MAP_OR_LIST),
        (["a=1", "b"], grammar.MAP_OR_LIST),
        ("1m30s", grammar.DURATION),
        (None, grammar.DEPLOY),
        ({"x-own": [1]}, grammar.STACK),
        ({}, grammar.STACK),
        ({"a b": {"anything": 1}}, grammar.STACK.keys["networks"].shape),
        ({"context": ".", "new_key": 1}, grammar.BUILD),
    ],
)
def test_well_formed(value: Value, shape: schema.Shape) -> None:
    schema.check(value, shape, minor=13)


@pytest.mark.parametrize(
    ("value", "shape", "says"),
    [
        (5, grammar.TEXT, 'must be a string, but is a whole number; put it in quotes: "5"'),
        (True, grammar.MAP_OR_LIST, "must be a mapping or list, but is true or false"),
        ({"a": True}, grammar.MAP_OR_LIST, 'a: must be a string, number or null, but is true or false; put it in quotes: "true"'),
        ("3", grammar.INTEGER, "must be an integer, but is a string; take the quotes off"),
        (2.5, grammar.INTEGER, "must be an integer, but is a number"),
        (True, grammar.NUMBER, "must be a number, but is true or false"),
        ("yes", grammar.TRUTH, "must be a boolean (true or false), but is a string"),
        (None, grammar.TEXTS, "must be a list, but is null; take the key out, or list something"),
        ({"a": "b"}, grammar.SET, "must be a list, but is a mapping; write each item on a line of its own"),
        (["a", "a"], grammar.SET, "1: this is the same as item 0"),
        ([2, 2.0], grammar.SERVICE.keys["expose"].shape, "1: this is the same as item 0"),
        ("soon", grammar.DURATION, "'soon' is not a duration"),
        ("10", grammar.DURATION, "unknown or missing unit"),
        (["eighty"], grammar.SERVICE.keys["ports"].shape, "0: 'eighty' is not a valid container port"),
        ({"order": "last"}, grammar.ROLLOUT, "order: is 'last', and must be start-first or stop-first"),
        ({"soft": 1}, grammar.ULIMIT, "'hard' is required; add `hard:`"),
        ({"we b": {}}, grammar.STACK.keys["services"].shape, "we b: 'we b' is not allowed as a name here"),
        ([{"type": "tmpfs", "tmpfs": {"size": -1}}], grammar.SERVICE.keys["volumes"].shape, "0.tmpfs.size: must not be negative"),
    ],
)
def test_malformed(value: Value, shape: schema.Shape, says: str) -> None:
    assert says in fault(value, shape)


def test_a_moment_in_time_passes_for_text_here() -> None:
    schema.check(resolve("2001-01-01"), grammar.TEXT, minor=13)


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"replicas": 3}, "services.web.replicas: unknown key 'replicas'; write it under `deploy:`"),
        ({"imagee": "x"}, "did you mean 'image'?"),
        ({"wholly_unknown_thing": 1}, "take it out, or name it x-..."),
        ({"depends_on": {"db": {"condition": "service_healthy"}}}, "must be a list, but is a mapping; write a list of services"),
        ({"deploy": {"resources": {"reservations": {"devices": []}}}}, "deploy.resources.reservations.devices: unknown key 'devices'"),
    ],
)
def test_an_unknown_key_comes_with_advice(service: dict[str, Value], says: str) -> None:
    assert says in fault(stack(service), grammar.STACK)


@pytest.mark.parametrize(
    ("service", "first"),
    [
        ({"secrets": []}, 1),
        ({"ports": [{"target": 80}]}, 2),
        ({"volumes": [{"type": "bind"}]}, 2),
        ({"deploy": {"endpoint_mode": "vip"}}, 2),
        ({"configs": []}, 3),
        ({"credential_spec": {"file": "a"}}, 3),
        ({"deploy": {"update_config": {"order": "start-first"}}}, 4),
        ({"healthcheck": {"start_period": "1s"}}, 4),
        ({"isolation": "x"}, 5),
        ({"init": True}, 7),
        ({"x-own": 1}, 7),
        ({"deploy": {"rollback_config": {}}}, 7),
        ({"deploy": {"placement": {"max_replicas_per_node": 1}}}, 8),
        ({"cgroupns_mode": "host"}, 9),
        ({"deploy": {"resources": {"limits": {"pids": 5}}}}, 9),
        ({"build": {"new_key": 1}}, 11),
        ({"healthcheck": {"start_interval": "1s"}}, 12),
        ({"oom_score_adj": 1}, 13),
        ({"networks": {"a": {"driver_opts": {}}}}, 13),
    ],
)
def test_a_key_exists_from_its_version_on(service: dict[str, Value], first: int) -> None:
    schema.check(stack(service), grammar.STACK, minor=first)
    said = fault(stack(service), grammar.STACK, minor=first - 1)
    assert f'"3.{first}" or later' in said or "unknown key 'new_key'" in said


def test_short_volumes_must_differ_only_in_the_oldest_versions() -> None:
    twice = stack({"volumes": ["a:/b", "a:/b"]})
    assert "the same as item 0" in fault(twice, grammar.STACK, minor=1)
    schema.check(twice, grammar.STACK, minor=2)
