"""Feature levels: what this version can put into the log that an older one could not apply, or would silently drop.

A level is a promise of a build: it applies whatever may be logged at that level or below. Managers announce theirs in their description;
the cluster object holds the lowest of all (manager.features). To add a feature: raise LEVEL, name it here, say in `_carried` which
changes carry it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cluster.api.changes import Change, Put
from cluster.api.endpoint import is_encrypted
from cluster.api.objects import Network, Node, Service

LEVEL = 2
"""Of this build."""
FIRST_LEVEL = 1


class Feature(NamedTuple):
    """`level`: what every manager must have before it is logged. `name` reads well before "takes"."""

    level: int
    name: str


GUESTS = Feature(2, "attaching containers to networks by themselves")
"""Network.guests: a manager that does not know them would give their addresses away."""

ENCRYPTION = Feature(2, "encrypted networks")
"""Cluster.data_keys come with the first such network: a manager that does not know them would drop them from the cluster object."""
AFFINITY = Feature(2, "keeping connections with one task or one node")
"""Extensions.endpoint_affinity and endpoint_prefer_local."""
ADDRESSES = Feature(2, "publishing a port on one address")
"""Extensions.publish_on: forgotten, the next client that posts the spec back would open the port to everybody."""
ABSENCES = Feature(2, "announced absences")
"""NodeStatus.away. No user asks for it: below this level the leader alone keeps it, in memory."""

CONVERSATIONS = Feature(2, "reaching containers on other nodes")
"""ReachOrder: nothing of it is logged, but a node or a leader that does not know the message could not read it."""


def needed(changes: Iterable[Change]) -> Feature | None:
    """The highest that these changes carry; None if every manager there ever was can apply them. Pure."""
    found = [feature for change in changes if (feature := _carried(change)) is not None]
    return max(found, default=None)


def _carried(change: Change) -> Feature | None:
    match change:
        case Put(object=Network(guests=guests)) if guests:
            return GUESTS
        case Put(object=Network(spec=spec)) if is_encrypted(spec.options):
            return ENCRYPTION
        case Put(object=Service(extensions=extensions)) if extensions.endpoint_affinity or extensions.endpoint_prefer_local:
            return AFFINITY
        case Put(object=Service(extensions=extensions)) if extensions.publish_on:
            return ADDRESSES
        case Put(object=Node(status=status)) if status.away:
            return ABSENCES
        case _:
            return None


def too_old(who: str, level: int, swarm: int) -> str:
    """Why a node cannot be a manager, and what to do."""
    return (
        f"{who} runs a version of feature level {level} and cannot be a manager of this swarm, which is at level {swarm}: "
        "install the version of the other managers there and try again"
    )
