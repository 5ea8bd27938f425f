"""Which nodes a task may go to, and the words that say why no node will do (Docker's). Pure.

Each filter answers for itself; `explain` joins their counts, the filter that refused most first.
"""

import enum
from collections.abc import Mapping

from cluster.api.constraints import all_satisfied, architecture
from cluster.api.objects import Node
from cluster.api.specs import NamedResource, Platform
from manager.scheduler.needs import Needs, Standing
from manager.store.usage import HostPort, Usage


class Filter(enum.Enum):
    """In the order in which they are asked; the value is the text for one node, and for more."""

    READY = ("1 node not available for new tasks", "{} nodes not available for new tasks")
    RESOURCES = ("insufficient resources on 1 node", "insufficient resources on {} nodes")
    PLUGINS = ("missing plugin on 1 node", "missing plugin on {} nodes")
    OVERLAY = ("no overlay networks on 1 node", "no overlay networks on {} nodes")
    CONSTRAINTS = ("scheduling constraints not satisfied on 1 node", "scheduling constraints not satisfied on {} nodes")
    PLATFORM = ("unsupported platform on 1 node", "unsupported platform on {} nodes")
    HOST_PORTS = ("host-mode port already in use on 1 node", "host-mode port already in use on {} nodes")
    MAX_REPLICAS = ("max replicas per node limit exceed", "max replicas per node limit exceed")

    def says(self, count: int) -> str:
        one, many = self.value
        return str(one if count == 1 else many.format(count))


ORDER = {refused: place for place, refused in enumerate(Filter)}


def explain(refusals: Mapping[Filter, int]) -> str:
    """`no suitable node (...)`."""
    counted = sorted(((count, refused) for refused, count in refusals.items() if count), key=lambda one: (-one[0], ORDER[one[1]]))
    if not counted:
        return "no suitable node"
    return f"no suitable node ({'; '.join(refused.says(count) for count, refused in counted)})"


# -- what depends on the node alone ------------------------------------------------------------------------------------------------------
def refuses(standing: Standing, node: Node) -> Filter | None:
    if standing.plugins and not has_plugins(standing.plugins, node):
        return Filter.PLUGINS
    if standing.overlay and not node.description.linked:
        return Filter.OVERLAY
    if standing.invalid or not all_satisfied(standing.constraints, node):
        return Filter.CONSTRAINTS
    if standing.platforms and not any(is_platform(wanted, node.description.platform) for wanted in standing.platforms):
        return Filter.PLATFORM
    return None


def has_plugins(wanted: tuple[tuple[str, str], ...], node: Node) -> bool:
    """A node that names no plugin of that type has not been asked; only one that does can lack one."""
    has = {(plugin.get("Type", ""), plugin.get("Name", "")) for plugin in node.description.engine.plugins}
    types = {kind for kind, _ in has}
    return all((kind, name) in has or (kind, f"{name}:latest") in has or kind not in types for kind, name in wanted)


def is_platform(wanted: Platform, actual: Platform) -> bool:
    same_os = not wanted.os or not actual.os or wanted.os.lower() == actual.os.lower()
    if not wanted.architecture or not actual.architecture:
        return same_os
    return same_os and architecture(wanted.architecture) == architecture(actual.architecture)


# -- what depends on what runs there ------------------------------------------------------------------------------------------------------
class Room:
    """What is free on a node; taken from as a round places tasks there."""

    __slots__ = ("_cpus", "_free_names", "_generic", "_memory", "_node", "_ports", "_usage")

    def __init__(self, node: Node, usage: Usage) -> None:
        has = node.description.resources
        self._cpus = has.nano_cpus - usage.nano_cpus
        self._memory = has.memory_bytes - usage.memory_bytes
        self._node = node
        self._usage = usage
        self._generic: dict[str, int] | None = None
        self._free_names: dict[str, list[str]] | None = None
        self._ports: set[HostPort] | None = None

    def refuses(self, needs: Needs, here: int) -> Filter | None:
        """`here`: tasks of this service that the node has."""
        if needs.reserves and not self._has_resources(needs):
            return Filter.RESOURCES
        if needs.host_ports and any(self._port_taken(port) for port in needs.host_ports):
            return Filter.HOST_PORTS
        if needs.max_replicas and here >= needs.max_replicas:
            return Filter.MAX_REPLICAS
        return None

    def take(self, needs: Needs) -> tuple[NamedResource, ...]:
        """Count the task in; the named resources that are its own from now on."""
        self._cpus -= needs.nano_cpus
        self._memory -= needs.memory_bytes
        for kind, count in needs.generic:
            generic = self._room_of_kinds()
            generic[kind] = generic.get(kind, 0) - count
        if needs.host_ports:
            self._ports_taken().update(needs.host_ports)
        return self._names(needs) if needs.generic else ()

    def _names(self, needs: Needs) -> tuple[NamedResource, ...]:
        if self._free_names is None:
            self._free_names = _names_free(self._node, self._usage)
        found = []
        for kind, count in needs.generic:
            free = self._free_names.get(kind, [])
            found += [NamedResource(kind=kind, value=value) for value in free[:count]]
            del free[:count]
        return tuple(found)

    def _has_resources(self, needs: Needs) -> bool:
        """What is not asked for may be overdrawn: a node whose memory shrank still takes tasks that reserve none."""
        if (needs.nano_cpus and needs.nano_cpus > self._cpus) or (needs.memory_bytes and needs.memory_bytes > self._memory):
            return False
        return not needs.generic or all(self._room_of_kinds().get(kind, 0) >= count for kind, count in needs.generic)

    def _room_of_kinds(self) -> dict[str, int]:
        """Worked out only for tasks that ask; most don't."""
        if self._generic is None:
            self._generic = generic_room(self._node, self._usage)
        return self._generic

    def _ports_taken(self) -> set[HostPort]:
        if self._ports is None:
            self._ports = set(self._usage.port_counts)
        return self._ports

    def _port_taken(self, port: HostPort) -> bool:
        """A port on every address meets one on any."""
        protocol, number, address = port
        return any(
            taken[0] == protocol and taken[1] == number and (not address or not taken[2] or address == taken[2])
            for taken in self._ports_taken()
        )


def generic_room(node: Node, usage: Usage) -> dict[str, int]:
    """How many of each kind of generic resource are free on the node."""
    room: dict[str, int] = {}
    for resource in node.description.resources.generic_resources:
        if (discrete := resource.discrete_resource_spec) is not None:
            room[discrete.kind] = room.get(discrete.kind, 0) + discrete.value
        if (named := resource.named_resource_spec) is not None:
            room[named.kind] = room.get(named.kind, 0) + 1
    for kind, count in usage.generic.items():
        room[kind] = room.get(kind, 0) - count
    return room


def _names_free(node: Node, usage: Usage) -> dict[str, list[str]]:
    """The named resources that nobody has, by kind."""
    taken = usage.named_counts
    free: dict[str, list[str]] = {}
    for resource in node.description.resources.generic_resources:
        named = resource.named_resource_spec
        if named is not None and (named.kind, named.value) not in taken:
            free.setdefault(named.kind, []).append(named.value)
    return free
