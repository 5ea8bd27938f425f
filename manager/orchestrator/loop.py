"""The orchestrator's loop: changes and alarms say where to look, the latest snapshot decides, a conflict goes round again."""

import heapq

from cluster.aio.clock import Clock
from cluster.aio.rounds import Rounds
from cluster.api.errors import StaleSnapshot, Unavailable
from cluster.api.ids import DrawId
from manager.orchestrator.enforcer import has_joined
from manager.orchestrator.plan import affected, everything, plan
from manager.orchestrator.round import Key
from manager.orchestrator.soft import Moment, Soft
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

SWEEP_SECONDS = 30.0
"""Everything is looked at this often, in slices, in case a hint was lost."""

KEYS_A_ROUND = 500

PATIENCE = 5
"""Conflicts in a row that are met by looking again at once; after more, ever later. A log that takes no proposal now is met slowly."""

SLOWEST = 1.0
"""Seconds; a manager that cannot agree on anything for long stops leading by itself."""


class Orchestrator:
    """Runs while this manager leads; built anew each time it begins to."""

    def __init__(self, store: Store, proposer: Proposer, clock: Clock, draw_id: DrawId) -> None:
        self.rounds = Rounds("orchestrator")
        self._store = store
        self._proposer = proposer
        self._clock = clock
        self._draw_id = draw_id
        self._soft = Soft(since=clock.monotonic())
        self._pending: dict[Key, None] = {}
        """Keys to look at, in the order they were heard of; a hint, never the truth."""
        self._alarms: list[tuple[float, int, Key]] = []
        self._alarms_set = 0
        self._due: dict[Key, float] = {}
        """The alarm that counts for each key."""
        self._conflicts = 0
        self._next_sweep = clock.monotonic()
        self._seen: Snapshot | None = None

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
        """What there is to look at: what changed, what is due, and now and then everything."""
        at = self._moment()
        before, self._seen = self._seen, now
        changes = None if before is None else now.changes_since(before)
        self._soft.observe(now, now.tasks if changes is None else changes.tasks, at)
        if before is None or changes is None or any(has_joined(before.nodes.get(one), now.nodes.get(one)) for one in changes.nodes):
            self._soft.note_joined(now)
        if before is None or changes is None or at.monotonic >= self._next_sweep:
            self._soft.forget(now)
            self._next_sweep = at.monotonic + SWEEP_SECONDS
            self._look_at(everything(now))
        else:
            self._look_at(affected(now, before, changes))
        while self._alarms and self._alarms[0][0] <= at.monotonic:
            when, _, key = heapq.heappop(self._alarms)
            if self._due.get(key) == when:
                del self._due[key]
                self._look_at([key])

    def _look_at(self, keys: list[Key]) -> None:
        self._pending.update(dict.fromkeys(keys))

    async def _round(self) -> None:
        keys = [key for key, _ in zip(self._pending, range(KEYS_A_ROUND), strict=False)]
        for key in keys:
            del self._pending[key]
        wanted = plan(self._store.snapshot, at=self._moment(), soft=self._soft, draw_id=self._draw_id, keys=keys)
        for when, key in wanted.alarms:
            self._set_alarm(when, key)
        if wanted.changes:
            try:
                await self._proposer.propose(wanted.changes)
                self._conflicts = 0
            except (StaleSnapshot, Unavailable) as refused:
                self._conflicts += PATIENCE if isinstance(refused, Unavailable) else 1
                self._look_at(keys)
            else:
                self._soft.looked_at(key for key in keys if isinstance(key, str) and key not in wanted.again)
        self._look_at(wanted.again)
        await self._clock.sleep(min(SLOWEST, 0.01 * max(0, self._conflicts - PATIENCE)))

    def _set_alarm(self, when: float, key: Key) -> None:
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            self._alarms_set += 1
            heapq.heappush(self._alarms, (when, self._alarms_set, key))

    async def _wait(self, revision: int) -> None:
        """Until something changes or is due."""
        due = min([self._next_sweep, *(alarm[0] for alarm in self._alarms[:1])])
        await self._store.latest.wait_change_within(self._clock.limit(due - self._clock.monotonic()), revision)

    def _moment(self) -> Moment:
        return Moment(monotonic=self._clock.monotonic(), wall=self._clock.wall())
