"""Keeps a manager's keys as the swarm wants them: sealed with its unlock key while autolock is on, in the clear while it is off."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cluster.aio.clock import Clock
from cluster.api.errors import ShoalError
from manager.store.snapshot import Snapshot
from manager.store.store import Store
from node_agent.state import StateFolder

log = logging.getLogger(__name__)

RETRY_AFTER = 5.0


def wanted_key(now: Snapshot) -> str | None:
    """The unlock key; empty for no lock, None while this manager has not received the swarm's state."""
    if now.cluster is None:
        return None
    return now.cluster.unlock_key if now.cluster.spec.encryption_config.auto_lock_managers else ""


class KeyKeeper:
    """Every manager runs one. `read` waits until the store is as new as what a quorum agreed on.

    Nothing is done before that: a log that is being read again passes through the unlock keys of the past.
    """

    def __init__(self, state: StateFolder, store: Store, *, read: Callable[[], Awaitable[Snapshot]], clock: Clock) -> None:
        self._state = state
        self._store = store
        self._read = read
        self._clock = clock
        self._kept: str | None = None
        """What the files were last seen or made to be."""

    async def run(self) -> None:
        await self._catch_up()
        async for now in self._store.snapshots():
            while (key := wanted_key(now)) is not None and key != self._kept:
                if await self._keep(key):
                    self._kept = key
                else:
                    await self._clock.sleep(RETRY_AFTER)
                    now = self._store.snapshot  # noqa: PLW2901 - what is wanted may be another thing by then

    async def _catch_up(self) -> None:
        while True:
            try:
                await self._read()
            except ShoalError:
                await self._clock.sleep(1)
            else:
                return

    async def _keep(self, key: str) -> bool:
        try:
            await asyncio.to_thread(self._make, key)
        except OSError as full:
            log.error("this manager's keys cannot be %s, trying again: %s", "sealed" if key else "unsealed", full)
            return False
        return True

    def _make(self, key: str) -> None:
        if self._state.is_locked_with(key):
            return
        if key:
            self._state.lock(key)
            log.info("this manager's keys are sealed: after a restart it needs the swarm's unlock key")
        else:
            self._state.remove_lock()
            log.info("this manager's keys are not sealed any more")
