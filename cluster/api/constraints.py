"""Placement constraints: `node.role==manager`, `node.labels.disk!=hdd`. Parsed at the edge, matched by the scheduler and orchestrator."""

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from msgspec import Struct

from cluster.api.errors import InvalidArgument
from cluster.api.objects import Node

_PLAIN_KEYS = frozenset({"node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch"})
_LABEL_PREFIXES = ("node.labels.", "engine.labels.")
_EXPRESSION = re.compile(r"\s*([^=!]*?)\s*(==|!=)\s*(.*?)\s*\Z", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*\Z")
_VALUE = re.compile(r"[A-Za-z0-9:\-_\s.*()?+\[\]\\^$|/,@]+\Z")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm", "i386": "386", "i686": "386"}


class InvalidConstraint(InvalidArgument):
    """A constraint that cannot be read, or names what no node has."""

    def __init__(self, expression: str, fault: str) -> None:
        super().__init__(f"invalid constraint {expression!r}: {fault}")
        self.expression, self.fault = expression, fault


class Constraint(Struct, frozen=True, kw_only=True, gc=False):
    key: str
    """Prefixes in lower case; a label's own name as written."""
    equal: bool
    value: str


def parse(expression: str) -> Constraint:
    """One constraint. Raises InvalidConstraint with what was expected."""
    found = _EXPRESSION.match(expression)
    if found is None:
        raise InvalidConstraint(expression, "expected KEY==VALUE or KEY!=VALUE")
    key, operator, value = found.groups()
    if not _KEY.match(key):
        raise InvalidConstraint(expression, f"key '{key}' is invalid")
    if not _VALUE.match(value):
        raise InvalidConstraint(expression, f"value '{value}' is invalid")
    lowered = key.lower()
    prefix = next((prefix for prefix in _LABEL_PREFIXES if lowered.startswith(prefix)), "")
    if prefix:
        key = prefix + key[len(prefix) :]
    elif lowered in _PLAIN_KEYS:
        key = lowered
    else:
        raise InvalidConstraint(
            expression,
            f"unknown key '{key}'; use node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, "
            "node.labels.NAME or engine.labels.NAME",
        )
    if key in _LABEL_PREFIXES:
        raise InvalidConstraint(expression, f"key '{key}' names no label")
    return Constraint(key=key, equal=operator == "==", value=value)


def parse_all(expressions: Iterable[str]) -> tuple[Constraint, ...]:
    return tuple(parse(expression) for expression in expressions)


def satisfied(constraint: Constraint, node: Node) -> bool:
    """The node is one that the constraint allows. Values compare without case; a label that is not there equals nothing."""
    if constraint.key == "node.ip":
        return _addressed(node.status.addr, constraint.value) is constraint.equal
    actual = attribute(constraint.key, node)
    if constraint.key == "node.platform.arch":
        return (architecture(actual or "") == architecture(constraint.value)) is constraint.equal
    return (actual is not None and actual.lower() == constraint.value.lower()) is constraint.equal


def all_satisfied(constraints: Iterable[Constraint], node: Node) -> bool:
    return all(satisfied(constraint, node) for constraint in constraints)


def attribute(key: str, node: Node) -> str | None:
    """What a node says under a constraint's key, or a preference's; None when it has nothing there."""
    match key:
        case "node.id":
            return node.id
        case "node.hostname":
            return node.description.hostname
        case "node.ip":
            return node.status.addr
        case "node.role":
            return node.spec.role.value
        case "node.platform.os":
            return node.description.platform.os
        case "node.platform.arch":
            return node.description.platform.architecture
        case _:
            return _label(key, node)


def _label(key: str, node: Node) -> str | None:
    if key.startswith("node.labels."):
        return node.spec.labels.get(key.removeprefix("node.labels."))
    if key.startswith("engine.labels."):
        return node.description.engine.labels.get(key.removeprefix("engine.labels."))
    return None


def architecture(name: str) -> str:
    """The kernel's names and Go's mean the same machines."""
    lowered = name.lower()
    return _ARCHITECTURES.get(lowered, lowered)


def _addressed(addr: str, wanted: str) -> bool:
    host = addr.rpartition(":")[0].strip("[]") if addr.count(":") == 1 or addr.startswith("[") else addr
    try:
        return ip_address(host) in ip_network(wanted, strict=False)
    except ValueError:
        return False
