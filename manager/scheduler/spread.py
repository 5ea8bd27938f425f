"""Choosing among the nodes that will do: over the placement preferences first, then evenly. Pure.

Even means: nodes where this service keeps failing last, then the fewest tasks of the service, then the fewest tasks, then by id.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from cluster.api.constraints import attribute
from cluster.api.ids import Id
from cluster.api.specs import NamedResource
from manager.scheduler.filters import Filter
from manager.scheduler.fleet import Fleet
from manager.scheduler.needs import Needs

FAILURES = 5
"""As many failures of a service on a node within five minutes put the node behind the others for it; as many again, further behind."""


Rank = tuple[int, int, int, Id]
"""How much it is shunned, tasks of the service, tasks, id: the least is taken."""


class Judge:
    """What the group knows of a node: whether its next task fits there, and how much it wants to be there.

    Apart from the group, so that nothing here refers back to what holds it: a round leaves no cycles to the collector.
    """

    __slots__ = ("counted", "fleet", "here", "needs", "refusals", "shunned")

    def __init__(self, service_id: Id, needs: Needs, fleet: Fleet, faults: Mapping[Id, int]) -> None:
        self.needs = needs
        self.counted = needs.counted
        self.fleet = fleet
        self.here = fleet.of_service(service_id)
        """Tasks of the service by node."""
        self.shunned = {node_id: count // FAILURES for node_id, count in faults.items() if count >= FAILURES}
        self.refusals: Counter[Filter] = Counter()

    def fits(self, node_id: Id) -> bool:
        """A node that is too full for one is too full for the rest, too: it is not asked again."""
        if not self.counted:
            return True
        refused = self.fleet.room(node_id).refuses(self.needs, self.here.get(node_id, 0))
        if refused is None:
            return True
        self.refusals[refused] += 1
        return False

    def rank(self, node_id: Id) -> Rank:
        return (self.shunned.get(node_id, 0), self.here.get(node_id, 0), self.fleet.loads.get(node_id, 0), node_id)


class Group:
    """The tasks of one template that a round places together."""

    def __init__(self, service_id: Id, needs: Needs, fleet: Fleet, faults: Mapping[Id, int]) -> None:
        self._service_id = service_id
        self._needs = needs
        self._fleet = fleet
        self._judge = Judge(service_id, needs, fleet, faults)
        self._suitable = fleet.roster.suitable(needs.standing)
        self._source: Leaf | Branch
        if needs.preferences:
            self._source = branch(self._judge, self._suitable.ids, needs.preferences)
        else:
            self._source = Leaf(self._judge, fleet.ascending(self._suitable))

    def take(self) -> tuple[Id, tuple[NamedResource, ...]] | None:
        """The node for the next task, already counted there, and the named resources it gets; None when no node will do."""
        node_id = self._source.take()
        if node_id is None:
            return None
        named = self._fleet.place(self._service_id, node_id, self._needs)
        self._source.placed(node_id)
        return node_id, named

    @property
    def refused(self) -> Counter[Filter]:
        """Why no node would do: what the nodes themselves lack, and what is short there now."""
        return self._suitable.refusals + self._judge.refusals


class Leaf:
    """Nodes that no preference tells apart. `fresh` comes from the emptiest on; whoever has none of the service yet is taken at once."""

    __slots__ = ("_fresh", "_heap", "_judge", "_ordered", "_placed")

    def __init__(self, judge: Judge, fresh: Iterator[Id]) -> None:
        self._judge = judge
        self._fresh = fresh
        self._heap: list[Rank] = []
        self._ordered = False
        self._placed: set[Id] = set()
        """Nodes that may be met again on the way up, because this group's own task moved them there."""

    def take(self) -> Id | None:
        if not self._ordered:
            node_id = self._take_fresh()
            if node_id is not None:
                return node_id
            heapify(self._heap)
            self._ordered = True
        while self._heap:
            node_id = heappop(self._heap)[3]
            if self._judge.fits(node_id):
                return node_id
        return None

    def _take_fresh(self) -> Id | None:
        """The next node without a task of the service; those with one are put by until there are no others."""
        judge, placed, heap = self._judge, self._placed, self._heap
        here, shunned, loads, counted = judge.here, judge.shunned, judge.fleet.loads, judge.counted
        found = None
        visits = 0
        for node_id in self._fresh:
            visits += 1
            if node_id in placed or (counted and not judge.fits(node_id)):
                continue
            if node_id not in here and node_id not in shunned:
                found = node_id
                break
            heap.append((shunned.get(node_id, 0), here.get(node_id, 0), loads.get(node_id, 0), node_id))
        judge.fleet.visits += visits
        return found

    def placed(self, node_id: Id) -> None:
        rank = self._judge.rank(node_id)
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


def branch(judge: Judge, node_ids: Iterable[Id], preferences: Sequence[str]) -> Leaf | Branch:
    """The tree of the preferences over these nodes. Nodes without the attribute are a part of their own, as in Swarm."""
    if not preferences:
        return Leaf(judge, iter(sorted(node_ids, key=judge.rank)))
    parts: dict[str, list[Id]] = {}
    for node_id in node_ids:
        value = attribute(preferences[0], judge.fleet.roster.nodes[node_id]) or ""
        parts.setdefault(value, []).append(node_id)
    return Branch(
        [
            (sum(judge.here.get(one, 0) for one in members), value, branch(judge, members, preferences[1:]))
            for value, members in sorted(parts.items())
        ]
    )
