"""The nodes as one round sees them: what the snapshot says, and what the round itself has placed since. Pure: built, used, dropped.

`ascending` walks the open nodes from the emptiest on without looking at all of them, so that one task costs little on any number
of nodes; placing a task moves its node on.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping

from cluster.api.ids import Id
from cluster.api.specs import NamedResource
from manager.scheduler.filters import Room
from manager.scheduler.needs import Needs
from manager.scheduler.roster import Roster, Suitable
from manager.store.snapshot import Snapshot
from manager.store.usage import counts, holds


class Fleet:
    def __init__(self, now: Snapshot, roster: Roster) -> None:
        self.roster = roster
        self.visits = 0
        """Nodes looked at: what bounds a round."""
        self._now = now
        self._usage = now.indexes.usage
        self._loads = {node_id: usage.tasks for node_id, usage in self._usage.items() if usage.tasks}
        self._of_service: dict[Id, dict[Id, int]] = {}
        self._rooms: dict[Id, Room] = {}
        self._levels: dict[int, list[Id]] | None = None

    # -- what is there -------------------------------------------------------------------------------------------------------------
    @property
    def loads(self) -> Mapping[Id, int]:
        """Tasks by node; nodes without any are left out."""
        return self._loads

    def of_service(self, service_id: Id) -> dict[Id, int]:
        """Tasks of the service by node; counted from whichever are fewer, its tasks or the nodes."""
        known = self._of_service.get(service_id)
        if known is None:
            known = self._of_service[service_id] = {}
            tasks = self._now.tasks_of(service_id)
            if len(tasks) > len(self._usage):
                known.update((node_id, n) for node_id, usage in self._usage.items() if (n := usage.per_service.get(service_id)))
            else:
                for task in tasks.values():
                    if holds(task) and counts(task):
                        known[task.node_id] = known.get(task.node_id, 0) + 1
        return known

    def room(self, node_id: Id) -> Room:
        room = self._rooms.get(node_id)
        if room is None:
            room = self._rooms[node_id] = Room(self.roster.nodes[node_id], self._now.usage(node_id))
        return room

    # -- placing -------------------------------------------------------------------------------------------------------------------
    def place(self, service_id: Id, node_id: Id, needs: Needs) -> tuple[NamedResource, ...]:
        """Count a task in on the node; the named resources that it gets there."""
        of_service = self.of_service(service_id)
        of_service[node_id] = of_service.get(node_id, 0) + 1
        named = self.room(node_id).take(needs) if needs.counted else ()
        load = self._loads.get(node_id, 0)
        self._loads[node_id] = load + 1
        if self._levels is not None:
            level = self._levels[load]
            place = bisect_left(level, node_id)
            if place < len(level) and level[place] == node_id:
                del level[place]
                insort(self._levels.setdefault(load + 1, []), node_id)
        return named

    # -- walking -------------------------------------------------------------------------------------------------------------------
    def ascending(self, suitable: Suitable) -> Iterator[Id]:
        """Suitable nodes from the emptiest on, those of equal load by id. The node that was yielded last may be placed on."""
        everyone = self.roster.everyone
        if suitable is not everyone and len(suitable.ids) * 4 < len(everyone.ids):
            yield from sorted(suitable.ids, key=lambda node_id: (self._loads.get(node_id, 0), node_id))
            return
        levels = self._by_load()
        for load in _upwards(levels):
            level = levels[load]
            place = 0
            while place < len(level):
                node_id = level[place]
                if suitable is everyone or node_id in suitable.members:
                    yield node_id
                if place < len(level) and level[place] == node_id:
                    place += 1

    def _by_load(self) -> dict[int, list[Id]]:
        if self._levels is None:
            self._levels = {}
            for node_id in self.roster.everyone.ids:
                load = self._loads.get(node_id, 0)
                level = self._levels.get(load)
                if level is None:
                    self._levels[load] = [node_id]
                else:
                    level.append(node_id)
        return self._levels


def _upwards(levels: dict[int, list[Id]]) -> Iterator[int]:
    """The loads that exist, those included that come to exist above."""
    load = min(levels, default=0) - 1
    while above := [other for other in levels if other > load]:
        load = min(above)
        yield load
