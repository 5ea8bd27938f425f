"""Messages larger than a message may be, in parts. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from cluster.api.assignment import Assignments, Endpoints
from cluster.api.endpoint import EndpointUpdate

PART_BYTES = 2 << 20
"""A part is closed at this size; a single thing in it may make it larger, up to the 4 MiB that a message may have."""

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


def assignment_parts(message: Assignments) -> list[Assignments]:
    """The message as one or several; they count once the last is there. Dependencies come before tasks, networks with them."""
    head = Assignments(version=message.version, applies_to=message.applies_to, complete=message.complete)
    parts = [replace(head, secrets=batch) for batch in _batches(message.secrets)]
    parts += [replace(head, configs=batch) for batch in _batches(message.configs)]
    parts += [replace(head, networks=batch) for batch in _batches(message.networks)]
    parts += [replace(head, tasks=batch) for batch in _batches(message.tasks)]
    gone = replace(head, gone_tasks=message.gone_tasks, gone_secrets=message.gone_secrets, gone_configs=message.gone_configs)
    if len(_encoder.encode(message)) <= PART_BYTES:
        return [message]
    return [*(replace(part, more=True) for part in parts), gone]


def endpoint_parts(update: EndpointUpdate) -> list[Endpoints]:
    """The update as one or several messages. All but the first are steps on it, of the same version."""
    if len(_encoder.encode(update)) <= PART_BYTES:
        return [Endpoints(update=update)]
    first = replace(update, services=())
    rest = [
        replace(update, complete=False, peers=None, networks=None, gone_services=(), services=batch) for batch in _batches(update.services)
    ]
    updates = [first, *rest]
    return [*(Endpoints(update=one, more=True) for one in updates[:-1]), Endpoints(update=updates[-1])]


def _batches(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    batch: list[T] = []
    size = 0
    for item, length in _measured(items):
        if batch and size + length > PART_BYTES:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield tuple(batch)


def _measured(items: Iterable[T]) -> Iterator[tuple[T, int]]:
    for item in items:
        yield item, len(_encoder.encode(item))
