"""Why no node takes a task: for each node, every filter that refuses it and the figure that is missing. Pure.

The filters themselves stop at the first refusal and count; this looks at all of them for one task, when somebody asks.
"""

from collections.abc import Iterator
from itertools import chain

from msgspec import Struct

from cluster.api.constraints import Constraint, architecture, attribute, satisfied
from cluster.api.ids import Id
from cluster.api.objects import Node, Task
from cluster.api.states import Availability, NodeState
from manager.scheduler.filters import generic_room, has_plugins, is_platform
from manager.scheduler.needs import Needs, needs_of
from manager.store.snapshot import Snapshot
from manager.store.usage import IDLE, Usage, UsageDraft, holds

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class Refusal(Struct, frozen=True, kw_only=True, gc=False):
    node_id: Id
    hostname: str
    texts: tuple[str, ...]
    """One a filter: `memory: needs 2 GiB; node-3 has 1.2 GiB free of 4 GiB`."""


def refusals(now: Snapshot, task: Task) -> list[Refusal]:
    """The nodes that do not take the task as things are, those first that lack least once they are idle, then as they are.

    A task that has a node has that one only.
    """
    needs = needs_of(now.template_of(task))
    nodes = [now.nodes[task.node_id]] if task.node_id in now.nodes else list(now.nodes.values())
    found = []
    for node in nodes:
        if texts := tuple(_refuses(now, task, needs, node, now.usage(node.id))):
            lasting = sum(1 for _ in chain(_standing(needs, node), _resources(needs, node, IDLE)))
            found.append((lasting, Refusal(node_id=node.id, hostname=_called(node), texts=texts)))
    found.sort(key=lambda one: (one[0], len(one[1].texts), one[1].hostname, one[1].node_id))
    return [refusal for _, refusal in found]


def refusals_over(now: Snapshot, task: Task, other: Task) -> tuple[str, ...]:
    """What keeps the task off the other's node and would not if the other were gone; nothing if there is more to it."""
    node, needs = now.nodes.get(other.node_id), needs_of(now.template_of(task))
    if node is None or not holds(other):
        return ()
    without = UsageDraft(now.indexes.usage)
    without.take(other, now.template_of(other))
    if any(_refuses(now, task, needs, node, without.finish().get(node.id, IDLE))):
        return ()
    return tuple(_refuses(now, task, needs, node, now.usage(node.id)))


def _refuses(now: Snapshot, task: Task, needs: Needs, node: Node, usage: Usage) -> Iterator[str]:
    name = _called(node)
    if node.status.state is not NodeState.READY:
        said = f" ({node.status.message})" if node.status.message else ""
        yield f"state: {name} is {node.status.state}{said}"
    if node.spec.availability is not Availability.ACTIVE:
        yield f"availability: {name} is set to {node.spec.availability}"
    yield from _standing(needs, node)
    yield from _resources(needs, node, usage)
    for port in needs.host_ports:
        if (owner := _port_owner(now, usage, port)) is not None:
            yield f"host port: {port[1]}/{port[0]} on {name} is in use by {owner}"
    here = usage.per_service.get(task.service_id, 0)
    if needs.max_replicas and here >= needs.max_replicas:
        yield f"max replicas per node: {name} has {here} of at most {needs.max_replicas}"


def _standing(needs: Needs, node: Node) -> Iterator[str]:
    standing, name = needs.standing, _called(node)
    if standing.invalid:
        yield f"constraint: {standing.invalid}"
    for constraint in standing.constraints:
        if not satisfied(constraint, node):
            yield f"constraint: {_written(constraint)}; {name} has {attribute(constraint.key, node) or 'none'}"
    missing = [plugin for plugin in standing.plugins if not has_plugins((plugin,), node)]
    if missing:
        yield f"plugin: needs {', '.join(f'{kind.lower()} driver {plugin}' for kind, plugin in missing)}; {name} has it not"
    if standing.overlay and not node.description.linked:
        yield f"network: needs overlay networks; {name} balances in userspace and has none"
    platform = node.description.platform
    if standing.platforms and not any(is_platform(wanted, platform) for wanted in standing.platforms):
        wanted = ", ".join(f"{one.os or 'any'}/{one.architecture or 'any'}" for one in standing.platforms)
        yield f"platform: the image is for {wanted}; {name} is {platform.os}/{architecture(platform.architecture)}"


def _resources(needs: Needs, node: Node, usage: Usage) -> Iterator[str]:
    has, name = node.description.resources, _called(node)
    free = has.nano_cpus - usage.nano_cpus
    if needs.nano_cpus and needs.nano_cpus > free:
        yield f"cpu: needs {_cpus(needs.nano_cpus)}; {name} has {_cpus(free)} free of {_cpus(has.nano_cpus)}"
    free = has.memory_bytes - usage.memory_bytes
    if needs.memory_bytes and needs.memory_bytes > free:
        yield f"memory: needs {size(needs.memory_bytes)}; {name} has {size(free)} free of {size(has.memory_bytes)}"
    if needs.generic:
        room = generic_room(node, usage)
        for kind, count in needs.generic:
            if room.get(kind, 0) < count:
                whole = room.get(kind, 0) + usage.generic.get(kind, 0)
                yield f"{kind}: needs {count}; {name} has {max(0, room.get(kind, 0))} free of {whole}"


def _port_owner(now: Snapshot, usage: Usage, port: tuple[str, int, str]) -> str | None:
    """The service whose task has a host port there that meets this one."""
    protocol, number, address = port
    for taken in usage.port_counts:
        if taken[:2] == (protocol, number) and (not address or not taken[2] or address == taken[2]):
            owners = (now.services.get(owner) for owner in now.port_owners("host", (protocol, number)))
            return next((f"service {owner.spec.name}" for owner in owners if owner is not None), "a task that has not stopped yet")
    return None


def size(count: int) -> str:
    """As people say it: 1.2 GiB."""
    for unit, word in _UNITS:
        if abs(count) >= unit:
            return f"{round(count / unit, 1):g} {word}"
    return f"{count} B"


def _cpus(nano: int) -> str:
    return f"{round(nano / 1e9, 2):g}"


def _written(constraint: Constraint) -> str:
    return f"{constraint.key}{'==' if constraint.equal else '!='}{constraint.value}"


def _called(node: Node) -> str:
    return node.spec.name or node.description.hostname or node.id
