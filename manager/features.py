"""Rolling upgrades: nothing is logged that a manager of an older version could not apply.

The leader raises the cluster's level once every manager announces a higher one, and proposes nothing above it. The level never goes down:
the log may hold entries of it, so an older manager is refused from then on (manager.membership), and one that meets it in its log stops.
"""

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.api.changes import Change, Put
from cluster.api.errors import FailedPrecondition, StaleSnapshot
from cluster.api.features import needed
from cluster.api.objects import Node
from cluster.api.states import Role
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

_PAUSE = 1.0


class NotYet(FailedPrecondition):
    """What is wanted takes a feature that some manager does not know. Nothing has happened."""


def managers_of(now: Snapshot) -> list[Node]:
    """Those that are, and those that are about to be: a node that never said its level counts as one of the first."""
    return [node for node in now.nodes.values() if node.member is not None or node.spec.role is Role.MANAGER]


def plan(now: Snapshot) -> Put | None:
    """Raise the level to what all managers announce."""
    cluster, managers = now.cluster, managers_of(now)
    if cluster is None or not managers:
        return None
    lowest = min(node.description.feature_level for node in managers)
    return Put(object=replace(cluster, feature_level=lowest), base=cluster.version) if lowest > cluster.feature_level else None


def check(now: Snapshot, changes: Sequence[Change]) -> None:
    """Raises NotYet, naming who has to be upgraded."""
    feature = needed(changes)
    if feature is None or feature.level <= now.feature_level:
        return
    old = sorted(node.description.hostname or node.id for node in managers_of(now) if node.description.feature_level < feature.level)
    cure = f"upgrade {', '.join(old)}" if old else "wait a moment"
    takes = f"{feature.name} takes feature level {feature.level} of every manager"
    raise NotYet(f"{takes}, and this swarm is at {now.feature_level}: {cure}, then try again")


class GatedProposer:
    """The port through which the leader's parts change the store, with nothing above the cluster's level passing."""

    def __init__(self, proposer: Proposer, store: Store) -> None:
        self._proposer = proposer
        self._store = store

    async def propose(self, changes: Sequence[Change]) -> int:
        check(self._store.snapshot, changes)
        return await self._proposer.propose(changes)


class FeatureKeeper:
    """A loop of the leader."""

    def __init__(self, store: Store, proposer: Proposer, clock: Clock) -> None:
        self._store = store
        self._proposer = proposer
        self._clock = clock

    async def run(self) -> None:
        while True:
            if (change := plan(self._store.snapshot)) is not None:
                with suppress(StaleSnapshot):
                    await self._proposer.propose([change])
            await self._clock.sleep(_PAUSE)
