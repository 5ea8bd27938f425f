"""Messages larger than a message may be, in parts. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from cluster.api.assignment import Assignments, Endpoints
from cluster.api.endpoint import EndpointUpdate, ServiceEndpoint

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
    """The update as one or several messages. All but the first are steps on it, of the same version.

    Sizes are estimated, from above: services are many, and every node is told of the same ones.
    """
    if sum(map(_service_bytes, update.services)) + _other_bytes(update) <= PART_BYTES:
        return [Endpoints(update=update)]
    updates = [replace(update, services=())]
    for batch in _batches(update.services, _service_bytes):
        updates.append(replace(update, complete=False, peers=None, networks=None, data_keys=None, gone_services=(), services=batch))
    return [*(Endpoints(update=one, more=True) for one in updates[:-1]), Endpoints(update=updates[-1])]


def _service_bytes(service: ServiceEndpoint) -> int:
    """More than it takes as MessagePack."""
    backends = len(service.backends) * (
        288 + 4 * len(service.name) + 64 * max((len(one.addresses) for one in service.backends[:1]), default=0)
    )
    networks = sum(128 + sum(len(alias) * 4 + 4 for alias in network.aliases) for network in service.networks)
    return 256 + 4 * len(service.name) + backends + networks + 512 * len(service.ports)


def _other_bytes(update: EndpointUpdate) -> int:
    return len(_encoder.encode(replace(update, services=())))


def _encoded_bytes(item: object) -> int:
    return len(_encoder.encode(item))


def _batches(items: Sequence[T], size_of: Callable[[T], int] = _encoded_bytes) -> Iterator[tuple[T, ...]]:
    batch: list[T] = []
    size = 0
    for item in items:
        length = size_of(item)
        if batch and size + length > PART_BYTES:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield tuple(batch)
