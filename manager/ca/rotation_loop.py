"""Ends a rotation of the root, on the leader, as soon as every node has followed."""

import logging

from cluster.aio.clock import Clock
from cluster.api.errors import StaleSnapshot, Unavailable
from manager.ca.rotation import finish
from manager.store.proposer import Proposer
from manager.store.store import Store

log = logging.getLogger(__name__)

RETRY_AFTER = 0.2


class RotationKeeper:
    def __init__(self, store: Store, proposer: Proposer, clock: Clock) -> None:
        self._store = store
        self._proposer = proposer
        self._clock = clock

    async def run(self) -> None:
        async for _ in self._store.snapshots():
            while (change := finish(self._store.snapshot)) is not None:
                try:
                    await self._proposer.propose([change])
                except (StaleSnapshot, Unavailable) as again:
                    log.info("the rotation of the root is not ended yet: %s", again)
                    await self._clock.sleep(RETRY_AFTER)
                else:
                    log.info("every node has a certificate of the new root: the old one is not trusted any more")
