"""Choosing among the nodes that will do: over the placement preferences first, then evenly. Pure.

Even means: nodes where this service keeps failing last, then the fewest tasks of the service, then the fewest tasks, then by id.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from cluster.api.constraints import attribute
from cluster.api.ids import Id
from manager.scheduler.filters import Filter
from manager.scheduler.fleet import Fleet
from manager.scheduler.needs import Needs

FAILURES = 5
"""As many failures of a service on a node within five minutes put the node last for it."""


class Group:
    """The tasks of one template that a round places together."""

    def __init__(self, service_id: Id, needs: Needs, fleet: Fleet, faults: Mapping[Id, int]) -> None:
        self.service_id = service_id
        self.needs = needs
        self.fleet = fleet
        self.refusals: Counter[Filter] = Counter()
        self._faults = faults
        suitable = fleet.roster.suitable(needs.standing)
        self._suitable = suitable
        self._source: Leaf | Branch
        if needs.preferences:
            self._source = branch(self, suitable.ids, needs.preferences)
        else:
            self._source = Leaf(self, fleet.ascending(suitable))

    def take(self) -> Id | None:
        """The node for the next task, already counted there; None when no node will do."""
        node_id = self._source.take()
        if node_id is not None:
            self.fleet.place(self.service_id, node_id, self.needs)
            self._source.placed(node_id)
        return node_id

    @property
    def refused(self) -> Counter[Filter]:
        """Why no node would do: what the nodes themselves lack, and what is short there now."""
        return self._suitable.refusals + self.refusals

    # -- read by the leaves ----------------------------------------------------------------------------------------------------------
    def fits(self, node_id: Id) -> bool:
        """A node that is too full for one is too full for the rest, too: it is asked once."""
        self.fleet.visits += 1
        if not self.needs.counted:
            return True
        refused = self.fleet.room(node_id).refuses(self.needs, self.here(node_id))
        if refused is None:
            return True
        self.refusals[refused] += 1
        return False

    def here(self, node_id: Id) -> int:
        return self.fleet.here(self.service_id, node_id)

    def shunned(self, node_id: Id) -> bool:
        return self._faults.get(node_id, 0) >= FAILURES

    def rank(self, node_id: Id) -> tuple[bool, int, int, Id]:
        return (self.shunned(node_id), self.here(node_id), self.fleet.load(node_id), node_id)


class Leaf:
    """Nodes that no preference tells apart. `fresh` comes from the emptiest on; whoever has none of the service yet is taken at once."""

    __slots__ = ("_fresh", "_group", "_heap", "_ordered", "_placed")

    def __init__(self, group: Group, fresh: Iterator[Id]) -> None:
        self._group = group
        self._fresh = fresh
        self._heap: list[tuple[bool, int, int, Id]] = []
        self._ordered = False
        self._placed: set[Id] = set()
        """Nodes met again on the way up, because this group's own task moved them there."""

    def take(self) -> Id | None:
        group = self._group
        for node_id in self._fresh:
            if node_id in self._placed or not group.fits(node_id):
                continue
            rank = group.rank(node_id)
            if not rank[0] and not rank[1]:
                return node_id
            self._heap.append(rank)
        if not self._ordered:
            heapify(self._heap)
            self._ordered = True
        while self._heap:
            node_id = heappop(self._heap)[3]
            if group.fits(node_id):
                return node_id
        return None

    def placed(self, node_id: Id) -> None:
        rank = self._group.rank(node_id)
        if self._ordered:
            heappush(self._heap, rank)
        else:
            self._heap.append(rank)
            self._placed.add(node_id)


class Branch:
    """Parts that a preference tells apart, by the value of an attribute: the next task goes where the service has fewest."""

    __slots__ = ("_heap", "_last", "_parts")

    def __init__(self, parts: Sequence["tuple[int, str, Leaf | Branch]"]) -> None:
        self._parts = {value: part for _, value, part in parts}
        self._heap = [(tasks, value) for tasks, value, _ in parts]
        heapify(self._heap)
        self._last: tuple[int, str] = (0, "")

    def take(self) -> Id | None:
        while self._heap:
            tasks, value = heappop(self._heap)
            node_id = self._parts[value].take()
            if node_id is not None:
                self._last = (tasks, value)
                return node_id
        return None

    def placed(self, node_id: Id) -> None:
        tasks, value = self._last
        self._parts[value].placed(node_id)
        heappush(self._heap, (tasks + 1, value))


def branch(group: Group, node_ids: Iterable[Id], preferences: Sequence[str]) -> Leaf | Branch:
    """The tree of the preferences over these nodes. Nodes without the attribute are a part of their own, as in Swarm."""
    if not preferences:
        return Leaf(group, iter(sorted(node_ids, key=group.rank)))
    parts: dict[str, list[Id]] = {}
    for node_id in node_ids:
        value = attribute(preferences[0], group.fleet.roster.nodes[node_id]) or ""
        parts.setdefault(value, []).append(node_id)
    return Branch(
        [(sum(map(group.here, members)), value, branch(group, members, preferences[1:])) for value, members in sorted(parts.items())]
    )
