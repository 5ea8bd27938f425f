"""One round of wanting: what a plan may read, and the change set that it grows. See docs/design/orchestration.md.

A *slot* is the place that one task at a time fills: a number in replicated services and jobs, a node in global ones. A task is
*wanted* while its desired state is at most COMPLETE; wanting it no more sets SHUTDOWN (it stays as history) or REMOVE (it does not).
"""

from collections.abc import Iterable

from msgspec.structs import replace

from cluster.api.changes import Change, Expect, Put, Remove, TaskChange
from cluster.api.constraints import Constraint, InvalidConstraint, parse_all
from cluster.api.ids import DrawId, Id
from cluster.api.objects import Service, Task, TaskStatus
from cluster.api.specs import TaskSpec
from cluster.api.states import Kind, TaskState
from manager.orchestrator.dependencies import unmet
from manager.orchestrator.enforcer import Misfit, misfit
from manager.orchestrator.likeness import up_to_date
from manager.orchestrator.soft import Moment, Soft
from manager.store.indexes import Slot, TemplateKey
from manager.store.snapshot import Snapshot

CHANGES_A_ROUND = 500
"""About 20 ms of work, apply included (DESIGN 3); what is left over is another round."""

LOOKS_A_ROUND = 5_000
"""Tasks looked at, whether or not anything had to change; counted between keys, so that a larger service still gets its turn."""

Key = Id | Slot
"""What a round looks at: a service as a whole, or one slot of it."""


class Round:
    """What plans share: they read `now`, `at` and `soft`, and write `changes`, `alarms` and `again`."""

    def __init__(self, now: Snapshot, *, at: Moment, soft: Soft, draw_id: DrawId, limit: int = CHANGES_A_ROUND) -> None:
        self.now = now
        self.at = at
        self.soft = soft
        self.changes: list[Change] = []
        self.alarms: list[tuple[float, Key]] = []
        self.again: list[Key] = []
        self.looks = 0
        self._draw_id = draw_id
        self._limit = limit
        self._expected: set[Id] = set()
        self._constraints: dict[TemplateKey, tuple[Constraint, ...]] = {}
        self._misfits: dict[tuple[Id, int, Id], Misfit | None] = {}
        self._same: dict[TemplateKey, bool] = {}
        self._waits: dict[Id, str] = {}

    @property
    def full(self) -> bool:
        return len(self.changes) >= self._limit

    # -- writing -------------------------------------------------------------------------------------------------------------------
    def want(self, task: Task, desired: TaskState) -> None:
        """Desired states, too, only go forward."""
        if task.desired_state < desired:
            self.changes.append(TaskChange(id=task.id, desired_state=desired))

    def conclude(self, task: Task, state: TaskState, message: str) -> None:
        """Say what no node will: the end of a task that no node has, or whose node is gone."""
        self.changes.append(TaskChange(id=task.id, status=TaskStatus(state=state, timestamp=self.at.wall, message=message)))

    def create(
        self,
        service: Service,
        slot: Slot,
        desired: TaskState,
        *,
        start_after: int = 0,
        restarts: int = 0,
        quick_failures: int = 0,
        iteration: int = 0,
        replaces: Id = "",
    ) -> None:
        """A new task of the service's present template. Refused, with the whole set, if the service changed meanwhile.

        While the service waits for another one it is only made ready.
        """
        if desired > TaskState.READY and self.waits_for(service):
            desired = TaskState.READY
        if service.id not in self._expected:
            self._expected.add(service.id)
            self.changes.append(Expect(kind=Kind.SERVICE, id=service.id, base=service.version))
        task = Task(
            id=self._draw_id(),
            service_id=service.id,
            template_version=service.template_version,
            slot=slot[1],
            node_id=slot[2],
            desired_state=desired,
            status=TaskStatus(timestamp=self.at.wall, message="created"),
            job_iteration=iteration,
            restarts=restarts,
            start_after=start_after,
            quick_failures=quick_failures,
            replaces=replaces,
        )
        self.changes.append(Put(object=task))

    def remove(self, task: Task) -> None:
        self.changes.append(Remove(kind=Kind.TASK, id=task.id))

    def put_service(self, service: Service) -> None:
        """After every task made for it in this round: it is then at another version."""
        self._expected.add(service.id)
        self.changes.append(Put(object=replace(service, history=()), base=service.version))

    def wake(self, when: float, key: Key) -> None:
        """Look at this again at that time."""
        self.alarms.append((when, key))

    # -- reading, once a round -----------------------------------------------------------------------------------------------------
    def constraints_of(self, service: Service) -> tuple[Constraint, ...]:
        """The constraints of the service's present template."""
        return self._constraints_of((service.id, service.template_version))

    def misfit(self, task: Task, service: Service) -> Misfit | None:
        """Why the task may not stay on its node.

        Other constraints in a newer template move nobody by themselves, the update does, in its own time. But a service with one task
        a node has nothing to update on a node that it left out.
        """
        version = task.template_version if task.slot else service.template_version
        key = (task.service_id, version, task.node_id)
        if key not in self._misfits:
            self._misfits[key] = misfit(self.now, task, self._constraints_of(key[:2]))
        return self._misfits[key]

    def _constraints_of(self, key: TemplateKey) -> tuple[Constraint, ...]:
        known = self._constraints.get(key)
        if known is None:
            template = self.now.templates.get(key)
            known = self._constraints[key] = () if template is None else constraints(template.spec)
        return known

    def waits_for(self, service: Service) -> str:
        """Which other service this one's tasks have to wait for, in words; empty when they may start."""
        if not service.extensions.depends_on:
            return ""
        known = self._waits.get(service.id)
        if known is None:
            known = self._waits[service.id] = unmet(self.now, service)
        return known

    def clean(self, task: Task, service: Service) -> bool:
        """The task is what the present template makes."""
        if task.template_version == service.template_version:
            return True
        key = (task.service_id, task.template_version)
        known = self._same.get(key)
        if known is None:
            known = self._same[key] = up_to_date(self.now, task, service)
        return known


def constraints(spec: TaskSpec) -> tuple[Constraint, ...]:
    """Admission refuses what cannot be parsed; an old log may still hold it, and then it holds nobody back."""
    if spec.placement is None:
        return ()
    try:
        return parse_all(spec.placement.constraints)
    except InvalidConstraint:
        return ()


def wanted(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.desired_state <= TaskState.COMPLETE]
