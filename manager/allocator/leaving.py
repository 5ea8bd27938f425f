"""Networks that were removed while tasks were still ending on them go once the last of those has ended."""

from collections.abc import Sequence
from contextlib import suppress

from cluster.aio.clock import Clock
from cluster.api.changes import Change, Remove
from cluster.api.errors import NoLeader, StaleSnapshot
from cluster.api.states import Kind
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

_PAUSE = 0.2


def plan(now: Snapshot) -> Sequence[Change]:
    """Remove the leaving networks on which nobody but the gateway has an address."""
    return tuple(
        Remove(kind=Kind.NETWORK, id=network.id, base=network.version)
        for network in sorted(now.networks.values(), key=lambda network: network.id)
        if network.leaving and len(now.addresses(network.id)) <= bool(network.gateway)
    )


class LeavingNetworks:
    """The loop around `plan`."""

    def __init__(self, store: Store, proposer: Proposer, clock: Clock) -> None:
        self._store = store
        self._proposer = proposer
        self._clock = clock

    async def run(self) -> None:
        async for now in self._store.snapshots():
            if changes := plan(now):
                with suppress(StaleSnapshot, NoLeader):  # the next snapshot decides again
                    await self._proposer.propose(changes)
            await self._clock.sleep(_PAUSE)
