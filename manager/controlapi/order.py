"""Start order: a service may not come to wait for itself, not even through others. Pure."""

from cluster.api.errors import InvalidArgument
from cluster.api.objects import Service
from cluster.api.specs import Extensions
from cluster.api.states import Kind
from manager.store.indexes import fold
from manager.store.snapshot import Snapshot


def check_order(now: Snapshot, name: str, extensions: Extensions) -> None:
    """Raises InvalidArgument that shows the circle. Services that do not exist yet close none: their own request will."""
    for dependency in extensions.depends_on:
        circle = _way(now, dependency.service, name)
        if circle:
            raise InvalidArgument(f"depends_on goes round in a circle: {' -> '.join((name, *circle))}; leave one of these out")


def _way(now: Snapshot, start: str, goal: str) -> tuple[str, ...]:
    """The services from `start` to `goal`, along what each depends on; empty when there is no way."""
    if fold(start) == fold(goal):
        return (start,)
    seen = {fold(start)}
    todo: list[tuple[str, ...]] = [(start,)]
    while todo:
        way = todo.pop()
        service = now.named(Kind.SERVICE, way[-1])
        for dependency in service.extensions.depends_on if isinstance(service, Service) else ():
            if fold(dependency.service) == fold(goal):
                return (*way, dependency.service)
            if fold(dependency.service) not in seen:
                seen.add(fold(dependency.service))
                todo.append((*way, dependency.service))
    return ()
