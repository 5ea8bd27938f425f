"""Whether all managers hold the same state."""

from collections.abc import Sequence
from typing import NamedTuple

from cluster.api.archive import Reader
from cluster.api.state_digest import StateDigest
from integration.cluster_rig import Daemon, wait_until
from integration.witness import reading


class Replica(NamedTuple):
    index: int
    digest: str


def replica(daemon: Daemon) -> Replica:
    """What `shoal cluster snapshot save` would save there."""
    digest = StateDigest()
    with reading(daemon, "/shoal/snapshot") as read:
        reader = Reader(read)
        for frame in reader.frames():
            digest.take(frame)
    return Replica(reader.manifest.raft_index, digest.hexdigest())


def wait_equal(managers: Sequence[Daemon]) -> Replica:
    """All at one index; raises AssertionError if they differ there."""

    def at_one_index() -> Sequence[Replica] | None:
        found = [replica(daemon) for daemon in managers]
        return found if len({one.index for one in found}) == 1 else None

    found: Sequence[Replica] = wait_until(at_one_index, what="all managers are at one index")
    assert len(set(found)) == 1, f"the managers hold different states at index {found[0].index}: {found}"
    return found[0]
