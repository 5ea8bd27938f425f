"""The nodes as long as none changes: which take tasks, in order, and which of them meet what a template asks of a node itself.

A value derived from the snapshot's nodes and kept between rounds only because the very same map of nodes gives the very same answers;
`Roster.of` makes a new one as soon as it is another map.
"""

from collections import Counter

from cluster.api.ids import Id
from cluster.api.objects import Node
from cluster.api.states import Availability, NodeState
from manager.scheduler.filters import Filter, refuses
from manager.scheduler.needs import ANYWHERE, Standing
from manager.store.snapshot import Snapshot
from manager.store.tables import Map

MEMORY = 1_000
"""Answers kept; beyond that they are worked out again."""


class Suitable:
    """The nodes that meet a `Standing`, in order of their ids, and how many each filter refused."""

    __slots__ = ("ids", "members", "refusals")

    def __init__(self, ids: list[Id], refusals: Counter[Filter]) -> None:
        self.ids = ids
        self.members = frozenset(ids)
        self.refusals = refusals


class Roster:
    def __init__(self, nodes: Map[Id, Node]) -> None:
        self.nodes = nodes
        self._open = sorted(node.id for node in nodes.values() if open_for_tasks(node))
        self._all = Suitable(self._open, Counter({Filter.READY: len(nodes) - len(self._open)}))
        self._known: dict[Standing, Suitable] = {}

    @classmethod
    def of(cls, now: Snapshot, present: "Roster | None" = None) -> "Roster":
        return present if present is not None and present.nodes is now.nodes else cls(now.nodes)

    @property
    def everyone(self) -> Suitable:
        """The nodes that take tasks."""
        return self._all

    def suitable(self, standing: Standing) -> Suitable:
        if standing is ANYWHERE or standing == ANYWHERE:
            return self._all
        known = self._known.get(standing)
        if known is None:
            if len(self._known) >= MEMORY:
                self._known.clear()
            known = self._known[standing] = self._work_out(standing)
        return known

    def _work_out(self, standing: Standing) -> Suitable:
        refusals = Counter(self._all.refusals)
        found = []
        for node_id in self._open:
            refused = refuses(standing, self.nodes[node_id])
            if refused is None:
                found.append(node_id)
            else:
                refusals[refused] += 1
        return Suitable(found, refusals)


def open_for_tasks(node: Node) -> bool:
    """Ready and active."""
    return node.status.state is NodeState.READY and node.spec.availability is Availability.ACTIVE
