"""5 PLACE: which node runs which task, and why no node can. Pure; see docs/design/scheduling.md.

Tasks of one template are placed together, with one look at the nodes; a task of its own template is placed without looking at all of
them. Tasks that belong to a node (global services) are only checked by the filters.
"""

from collections.abc import Iterable, Mapping

from msgspec import UNSET, Struct
from msgspec.structs import replace

from cluster.api.changes import Change, TaskChange
from cluster.api.ids import Id
from cluster.api.objects import Task, TaskStatus
from cluster.api.states import TaskState
from manager.scheduler.filters import Filter, explain, refuses
from manager.scheduler.fleet import Fleet
from manager.scheduler.needs import Needs, needs_of
from manager.scheduler.roster import Roster, open_for_tasks
from manager.scheduler.spread import Group
from manager.store.indexes import TemplateKey
from manager.store.snapshot import Snapshot

CHANGES_A_ROUND = 500
VISITS_A_ROUND = 40_000
"""Nodes looked at: about 20 ms."""

ASSIGNED = TaskStatus(state=TaskState.ASSIGNED, message="scheduler assigned task to node")
CONFIRMED = TaskStatus(state=TaskState.ASSIGNED, message="scheduler confirmed task can run on preassigned node")
PENDING = "pending task scheduling"

Faults = Mapping[TemplateKey, Mapping[Id, int]]
"""template -> node -> how often its tasks failed there lately"""

NO_FAULTS: Faults = {}
NOWHERE: Mapping[Id, int] = {}


class Placed(Struct, frozen=True, kw_only=True, gc=False):
    """What a round came to."""

    changes: list[Change]
    unplaced: list[Id]
    """Tasks that no node takes as things are: to be looked at again when a node changes or a task ends."""
    again: list[Id]
    """Tasks that the round did not get to."""


def plan(
    now: Snapshot,
    tasks: Iterable[Id] | None = None,
    *,
    roster: Roster | None = None,
    faults: Faults = NO_FAULTS,
    limit: int = CHANGES_A_ROUND,
    visits: int = VISITS_A_ROUND,
) -> Placed:
    """Place these tasks (all that wait, when none are named), or say why they cannot be."""
    placement = _Round(Fleet(now, Roster.of(now, roster)), faults=faults, limit=limit, visits=visits)
    groups: dict[TemplateKey, list[Task]] = {}
    for task_id in sorted(now.tasks_by_state(TaskState.PENDING)) if tasks is None else tasks:
        task = now.tasks.get(task_id)
        if task is not None and task.state is TaskState.PENDING and task.desired_state <= TaskState.COMPLETE:
            groups.setdefault((task.service_id, task.template_version), []).append(task)
    for members in groups.values():
        placement.place(members, needs_of(now.template_of(members[0])))
    return Placed(changes=placement.changes, unplaced=placement.unplaced, again=placement.again)


class _Round:
    def __init__(self, fleet: Fleet, *, faults: Faults, limit: int, visits: int) -> None:
        self.changes: list[Change] = []
        self.unplaced: list[Id] = []
        self.again: list[Id] = []
        self._fleet = fleet
        self._faults = faults
        self._limit = limit
        self._visits = visits

    def place(self, members: list[Task], needs: Needs) -> None:
        """Tasks of one template, in their order."""
        service_id = members[0].service_id
        group: Group | None = None
        refusal = ""
        for task in members:
            if len(self.changes) >= self._limit or self._fleet.visits >= self._visits:
                self.again.append(task.id)
            elif task.node_id:
                self._confirm(task, needs)
            else:
                if group is None:
                    group = Group(service_id, needs, self._fleet, self._faults.get((service_id, members[0].template_version), NOWHERE))
                place = None if refusal else group.take()
                if place is not None:
                    node_id, named = place
                    self.changes.append(TaskChange(id=task.id, node_id=node_id, status=ASSIGNED, resources=named or UNSET))
                else:
                    refusal = refusal or explain(group.refused)
                    self._leave(task, refusal)

    def _confirm(self, task: Task, needs: Needs) -> None:
        """A task of a global service: on this node or nowhere."""
        refused = self._refused_by_own(task, needs)
        if refused is None:
            named = self._fleet.place(task.service_id, task.node_id, needs)
            self.changes.append(TaskChange(id=task.id, status=CONFIRMED, resources=named or UNSET))
        else:
            self._leave(task, explain({refused: 1}))

    def _refused_by_own(self, task: Task, needs: Needs) -> Filter | None:
        self._fleet.visits += 1
        node = self._fleet.roster.nodes.get(task.node_id)
        if node is None or not open_for_tasks(node):
            return Filter.READY
        refused = refuses(needs.standing, node)
        if refused is None and needs.counted:
            refused = self._fleet.room(node.id).refuses(needs, self._fleet.of_service(task.service_id).get(node.id, 0))
        return refused

    def _leave(self, task: Task, refusal: str) -> None:
        """It stays PENDING, and says why."""
        self.unplaced.append(task.id)
        if task.status.err != refusal:
            status = replace(task.status, timestamp=0, message=PENDING, err=refusal)
            self.changes.append(TaskChange(id=task.id, status=status))
