"""The scheduler's loop: changes say which tasks wait, the latest snapshot decides, a conflict goes round again."""

from collections.abc import Iterable
from itertools import islice

from cluster.aio.clock import Clock
from cluster.aio.rounds import Rounds
from cluster.api.errors import StaleSnapshot, Unavailable
from cluster.api.ids import Id
from cluster.api.states import TaskState
from manager.scheduler.faults import FaultLog
from manager.scheduler.plan import plan
from manager.scheduler.roster import Roster
from manager.store.indexes import TemplateKey
from manager.store.proposer import Proposer
from manager.store.snapshot import Changes, Snapshot
from manager.store.store import Store

SWEEP_SECONDS = 30.0
"""Everything that waits is looked at this often, in slices, in case a hint was lost."""

TASKS_A_ROUND = 500

PATIENCE = 5
"""Conflicts in a row that are met by looking again at once; after more, ever later. A log that takes no proposal now is met slowly."""

SLOWEST = 1.0
"""Seconds; a manager that cannot agree on anything for long stops leading by itself."""


class Scheduler:
    """Runs while this manager leads; built anew each time it begins to."""

    def __init__(self, store: Store, proposer: Proposer, clock: Clock) -> None:
        self.rounds = Rounds("scheduler")
        self._store = store
        self._proposer = proposer
        self._clock = clock
        self._pending: dict[TemplateKey, dict[Id, None]] = {}
        """Tasks to place, by what they are made from, so that a round has few kinds; a hint, never the truth."""
        self._unplaced: dict[Id, None] = {}
        self._faults = FaultLog()
        self._roster: Roster | None = None
        self._next_sweep = clock.monotonic()
        self._seen: Snapshot | None = None
        self._conflicts = 0

    async def run(self) -> None:
        while True:
            revision = self._store.latest.revision
            self._notice(self._store.snapshot)
            if self._pending:
                with self.rounds.round():
                    await self._round()
            elif revision == self._store.latest.revision:
                await self._wait(revision)

    def _notice(self, now: Snapshot) -> None:
        at = self._clock.monotonic()
        before, self._seen = self._seen, now
        changes = None if before is None else now.changes_since(before)
        if changes is not None:
            self._faults.observe(now, sorted(changes.tasks), at)
        if before is None or changes is None or at >= self._next_sweep:
            self._next_sweep = at + SWEEP_SECONDS
            self._unplaced.clear()
            self._look_at(now, sorted(now.tasks_by_state(TaskState.PENDING)))
            return
        self._look_at(now, sorted(changes.tasks - self._unplaced.keys()))
        if self._unplaced and makes_room(now, before, changes):
            unplaced, self._unplaced = self._unplaced, {}
            self._look_at(now, unplaced)

    def _look_at(self, now: Snapshot, tasks: Iterable[Id]) -> None:
        for task_id in tasks:
            task = now.tasks.get(task_id)
            if task is not None and task.state is TaskState.PENDING:
                self._pending.setdefault((task.service_id, task.template_version), {})[task_id] = None

    def _choose(self) -> list[Id]:
        """The next tasks, template by template."""
        chosen: list[Id] = []
        spent: list[TemplateKey] = []
        for key, tasks in self._pending.items():
            some = list(islice(tasks, TASKS_A_ROUND - len(chosen)))
            for task_id in some:
                del tasks[task_id]
            if not tasks:
                spent.append(key)
            chosen += some
            if len(chosen) >= TASKS_A_ROUND:
                break
        for key in spent:
            del self._pending[key]
        return chosen

    async def _round(self) -> None:
        now = self._store.snapshot
        chosen = self._choose()
        self._roster = Roster.of(now, self._roster)
        faults = self._faults.recent(self._clock.monotonic())
        placed = plan(now, chosen, roster=self._roster, faults=faults)
        self._unplaced.update(dict.fromkeys(placed.unplaced))
        if placed.changes:
            try:
                await self._proposer.propose(placed.changes)
                self._conflicts = 0
            except (StaleSnapshot, Unavailable) as refused:
                self._conflicts += PATIENCE if isinstance(refused, Unavailable) else 1
                self._look_at(self._store.snapshot, chosen)
        self._look_at(now, placed.again)
        await self._clock.sleep(min(SLOWEST, 0.01 * max(0, self._conflicts - PATIENCE)))

    async def _wait(self, revision: int) -> None:
        """Until something changes, or the sweep is due."""
        await self._store.latest.wait_change_within(self._clock.limit(self._next_sweep - self._clock.monotonic()), revision)


def makes_room(now: Snapshot, before: Snapshot, changes: Changes) -> bool:
    """A node changed, or a task no longer holds what it held."""
    if changes.nodes:
        return True
    return any(
        (old := before.tasks.get(task_id)) is not None
        and old.node_id
        and ((task := now.tasks.get(task_id)) is None or task.state.ended or task.desired_state is not old.desired_state)
        for task_id in changes.tasks
    )
