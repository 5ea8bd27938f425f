"""Constraints: read as Swarm reads them, refused with what was expected."""

import pytest

from cluster.api.constraints import Constraint, InvalidConstraint, all_satisfied, parse, parse_all, satisfied
from cluster.api.objects import EngineDescription, Node, NodeDescription, NodeStatus
from cluster.api.specs import NodeSpec, Platform
from cluster.api.states import Role

NODE = Node(
    id="abc",
    spec=NodeSpec(role=Role.MANAGER, labels={"disk": "ssd", "Zone": "eu"}),
    description=NodeDescription(
        hostname="Host-1", platform=Platform(os="linux", architecture="x86_64"), engine=EngineDescription(labels={"gpu": "a100"})
    ),
    status=NodeStatus(addr="10.1.2.3"),
)


def test_key_operator_and_value_are_read_with_or_without_blanks() -> None:
    assert parse("node.role==manager") == parse("  Node.Role == manager ") == Constraint(key="node.role", equal=True, value="manager")
    assert parse("node.labels.a.b!=c d") == Constraint(key="node.labels.a.b", equal=False, value="c d")


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("node.role", "expected KEY==VALUE or KEY!=VALUE"),
        ("node.role=manager", "expected KEY==VALUE or KEY!=VALUE"),
        ("==manager", "key '' is invalid"),
        ("node.role==", "value '' is invalid"),
        ("node.labels.x==a;b", "value 'a;b' is invalid"),
        ("node.labels.==a", "key 'node.labels.' names no label"),
        ("node.color==red", "unknown key 'node.color'; use node.id, node.hostname"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(expression: str, fault: str) -> None:
    with pytest.raises(InvalidConstraint) as refused:
        parse(expression)
    assert str(refused.value).startswith(f"invalid constraint {expression!r}: {fault}")


@pytest.mark.parametrize(
    "expression",
    [
        "node.id==ABC", "node.hostname==host-1", "node.role==manager", "node.role!=worker", "node.platform.os==linux",
        "node.platform.arch==amd64", "node.platform.arch!=arm64", "node.labels.disk==SSD", "node.labels.Zone==eu", "node.labels.none!=x",
        "engine.labels.gpu==a100", "node.ip==10.1.2.3", "node.ip==10.1.0.0/16", "node.ip!=10.2.0.0/16",
    ],
)  # fmt: skip
def test_the_node_meets(expression: str) -> None:
    assert satisfied(parse(expression), NODE)


@pytest.mark.parametrize(
    "expression", ["node.id!=abc", "node.labels.zone==eu", "node.labels.none==x", "engine.labels.disk==ssd", "node.ip==nonsense"]
)
def test_the_node_does_not_meet(expression: str) -> None:
    assert not satisfied(parse(expression), NODE)


def test_all_of_them_must_hold() -> None:
    assert all_satisfied(parse_all(["node.role==manager", "node.labels.disk==ssd"]), NODE)
    assert not all_satisfied(parse_all(["node.role==manager", "node.labels.disk!=ssd"]), NODE)
    assert all_satisfied((), NODE)
