"""Start order: what the services of a stack wait for, under the names that they have in the swarm. Pure.

Docker takes the list `depends_on` and does nothing with it; Shoal starts a service once those are there. Conditions stand under
`x-shoal: {depends_on: {db: {condition: service_healthy}}}`, which takes the list's place.
"""

from collections.abc import Mapping

from stack_specs.errors import Fault
from stack_specs.model import Service, Stack
from stack_specs.names import scoped
from stack_specs.values import Value

CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")


def dependencies(stack: Stack) -> dict[str, dict[str, str]]:
    """Of each service, by the stack's own names: what it waits for, and for which condition. Raises Fault for a circle."""
    names = {service.name for service in stack.services}
    found = {service.name: _of(service, names) for service in stack.services}
    _refuse_circles(found)
    return found


def in_order(services: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Those first that others wait for, otherwise as they stand: so no update of one closes a circle with the old spec of another."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in ordered or name not in services:
            return
        for other in services[name]:
            visit(other)
        ordered[name] = None

    for name in services:
        visit(name)
    return list(ordered)


def in_swarm(name: str, stack_name: str, stack: Stack) -> str:
    """The service's name in the swarm; one that is not of this stack has its own."""
    return scoped(stack_name, name) if any(service.name == name for service in stack.services) else name


def _of(service: Service, names: set[str]) -> dict[str, str]:
    written = service.extras.get("x-shoal")
    path = ("services", service.name, "x-shoal", "depends_on")
    if isinstance(written, dict) and "depends_on" in written:
        return dict(_written(written["depends_on"], path))
    # what else the list names, docker never looked for
    return {name: CONDITIONS[0] for name in service.depends_on if name in names}


def _written(value: Value, path: tuple[str, ...]) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [(str(name), CONDITIONS[0]) for name in value]
    if not isinstance(value, dict):
        raise Fault(path, "must be a list or a mapping", "write `db: {condition: service_healthy}`")
    found = []
    for name, member in value.items():
        condition = member.get("condition", CONDITIONS[0]) if isinstance(member, dict) else CONDITIONS[0]
        if condition not in CONDITIONS:
            raise Fault((*path, name), f"unknown condition {condition!r}", f"use {', '.join(CONDITIONS)}")
        found.append((name, str(condition)))
    return found


def _refuse_circles(services: Mapping[str, Mapping[str, str]]) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise Fault(("services", name), f"depends_on goes round in a circle: {circle}", "leave one of these out")
        if name in done:
            return
        for other in services.get(name, {}):
            visit(other, (*way, name))
        done.add(name)

    for name in services:
        visit(name, ())
