"""The allocator's loop: changes say where to look, the latest snapshot decides, a conflict goes round again."""

from collections.abc import Iterable

from cluster.aio.clock import Clock
from cluster.aio.rounds import Rounds
from cluster.api.errors import StaleSnapshot, Unavailable
from cluster.api.ids import Id
from cluster.api.states import Kind, TaskState
from manager.allocator.plan import Work, everything, plan
from manager.store.proposer import Proposer
from manager.store.snapshot import Changes, Snapshot
from manager.store.store import Store

SWEEP_SECONDS = 30.0
"""Everything is looked at this often, in slices, in case a hint was lost."""

ITEMS_A_ROUND = 500

PATIENCE = 5
"""Conflicts in a row that are met by looking again at once; after more, ever later. A log that takes no proposal now is met slowly."""

SLOWEST = 1.0
"""Seconds; a manager that cannot agree on anything for long stops leading by itself."""

Item = tuple[Kind, Id]


class Allocator:
    """Runs while this manager leads; built anew each time it begins to."""

    def __init__(self, store: Store, proposer: Proposer, clock: Clock) -> None:
        self.rounds = Rounds("allocator")
        self._store = store
        self._proposer = proposer
        self._clock = clock
        self._pending: dict[Item, None] = {}
        """What to look at, in the order it was heard of; a hint, never the truth."""
        self._waiting: dict[Item, None] = {}
        """What could not be given what it needs; looked at again whenever something is freed."""
        self._last: dict[Id, int] = {}
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
        before, self._seen = self._seen, now
        changes = None if before is None else now.changes_since(before)
        if before is None or changes is None or self._clock.monotonic() >= self._next_sweep:
            self._next_sweep = self._clock.monotonic() + SWEEP_SECONDS
            self._waiting.clear()
            self._look_at(items(everything(now)))
            return
        self._look_at((Kind.NODE, node_id) for node_id in sorted(changes.nodes))
        self._look_at((Kind.NETWORK, network_id) for network_id in sorted(changes.networks))
        self._look_at((Kind.SERVICE, service_id) for service_id in sorted(changes.services))
        new = (task_id for task_id in sorted(changes.tasks) if (task := now.tasks.get(task_id)) is not None and task.state is TaskState.NEW)
        self._look_at((Kind.TASK, task_id) for task_id in new)
        if self._waiting and frees(now, changes):
            waiting, self._waiting = self._waiting, {}
            self._look_at(waiting)

    def _look_at(self, found: Iterable[Item]) -> None:
        self._pending.update(dict.fromkeys(found))

    async def _round(self) -> None:
        chosen = sorted(item for item, _ in zip(self._pending, range(ITEMS_A_ROUND), strict=False))
        for item in chosen:
            del self._pending[item]
        equipped = plan(self._store.snapshot, work_of(chosen), last=self._last)
        self._waiting.update(dict.fromkeys(equipped.waiting))
        if equipped.changes:
            try:
                await self._proposer.propose(equipped.changes)
                self._last = equipped.last
                self._conflicts = 0
            except (StaleSnapshot, Unavailable) as refused:
                self._conflicts += PATIENCE if isinstance(refused, Unavailable) else 1
                self._look_at(chosen)
        self._look_at(equipped.again)
        await self._clock.sleep(min(SLOWEST, 0.01 * max(0, self._conflicts - PATIENCE)))

    async def _wait(self, revision: int) -> None:
        """Until something changes, or the sweep is due."""
        await self._store.latest.wait_change_within(self._clock.limit(self._next_sweep - self._clock.monotonic()), revision)


def items(work: Work) -> list[Item]:
    return [
        *((Kind.NODE, node_id) for node_id in work.nodes),
        *((Kind.NETWORK, network_id) for network_id in work.networks),
        *((Kind.SERVICE, service_id) for service_id in work.services),
        *((Kind.TASK, task_id) for task_id in work.tasks),
    ]


def work_of(chosen: Iterable[Item]) -> Work:
    by_kind: dict[Kind, list[Id]] = {kind: [] for kind in (Kind.NODE, Kind.NETWORK, Kind.SERVICE, Kind.TASK)}
    for kind, object_id in chosen:
        by_kind[kind].append(object_id)
    return Work(
        nodes=tuple(by_kind[Kind.NODE]),
        networks=tuple(by_kind[Kind.NETWORK]),
        services=tuple(by_kind[Kind.SERVICE]),
        tasks=tuple(by_kind[Kind.TASK]),
    )


def frees(now: Snapshot, changes: Changes) -> bool:
    """What was short may be there now: a task ended or went, or something it hangs on changed."""
    if changes.networks or changes.services or changes.nodes or changes.cluster:
        return True
    return any((task := now.tasks.get(task_id)) is None or task.state.ended for task_id in changes.tasks)
