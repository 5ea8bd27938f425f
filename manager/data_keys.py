"""The keys that encrypted networks are sealed with: drawn when the first such network comes, changed from time to time. Run by the leader.

Three are kept: the former, the present, the next. A new one is only ever added as the next, so that by the time it is used to seal, at the
rotation after, every node has had it for a whole period (docs/design/encryption.md).
"""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.api.changes import Put
from cluster.api.endpoint import DataKey, is_encrypted
from cluster.api.errors import StaleSnapshot, Unavailable
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

log = logging.getLogger(__name__)

KEPT = 3
ROTATE_AFTER = 12 * 3600.0
"""Seconds; as Swarm's key manager."""
RETRY_AFTER = 0.2


def plan(now: Snapshot, *, is_due: bool, at: int, draw: Callable[[], bytes]) -> Put | None:
    """The change to make, if any. `at` is shown as the key's time; `draw` gives 32 bytes."""
    cluster = now.cluster
    if cluster is None or not any(is_encrypted(network.spec.options) for network in now.networks.values()):
        return None
    keys = cluster.data_keys
    if keys and not is_due:
        return None
    newest = keys[-1].id if keys else 0
    fresh = tuple(DataKey(id=newest + 1 + more, key=draw(), made_at=at) for more in range(1 if keys else 2))
    return Put(object=replace(cluster, data_keys=(*keys, *fresh)[-KEPT:]), base=cluster.version)


def seconds_left(now: Snapshot, *, at: int, period: float) -> float:
    """Until the next rotation, by the time that the newest key carries; a clock that jumped makes it at most a period."""
    keys = () if now.cluster is None else now.cluster.data_keys
    return min(period, max(0.0, period - (at - keys[-1].made_at) / 1e9)) if keys else period


class DataKeyKeeper:
    def __init__(self, store: Store, proposer: Proposer, clock: Clock, *, draw: Callable[[], bytes], period: float = ROTATE_AFTER) -> None:
        self._store = store
        self._proposer = proposer
        self._clock = clock
        self._draw = draw
        self._period = period

    async def run(self) -> None:
        """The wall clock counts only when leadership begins, to take up where the leader before was; from then on time is our own."""
        due = self._clock.monotonic() + seconds_left(self._store.snapshot, at=self._clock.wall(), period=self._period)
        seen: object = None
        while True:
            revision, now = self._store.latest.revision, self._store.snapshot
            is_due = self._clock.monotonic() >= due
            if is_due or seen is not now.networks:
                if change := plan(now, is_due=is_due, at=self._clock.wall(), draw=self._draw):
                    if not await self._propose(change):
                        continue
                    due = self._clock.monotonic() + self._period
                elif is_due:
                    due += self._period
                seen = now.networks
            left = due - self._clock.monotonic()
            await self._store.latest.wait_change_within(self._clock.limit(left), revision)

    async def _propose(self, change: Put) -> bool:
        try:
            await self._proposer.propose([change])
        except (StaleSnapshot, Unavailable) as again:
            log.info("the keys of encrypted networks wait: %s", again)
            await self._clock.sleep(RETRY_AFTER)
            return False
        log.info("encrypted networks have a new key")
        return True
