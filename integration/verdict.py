"""What must be true of a cluster that was hurt while clients used it: nothing lost, one history, equal replicas, no defect in a log."""

from collections.abc import Sequence
from typing import NamedTuple

from cluster.api.archive import Reader
from cluster.api.state_digest import StateDigest
from integration.clients import Clients
from integration.cluster_rig import Daemon, wait_until
from integration.histories import Named
from integration.witness import ask, reading
from tests.sim.linearizability import judge


def nothing_is_lost(managers: Sequence[Daemon], clients: Clients) -> None:
    state = wait_equal(managers)
    for daemon in managers:
        shown = {row["Spec"]["Name"] for row in ask(daemon, "GET", "/configs", timeout=60).body}
        assert set(clients.acknowledged) <= shown, f"{daemon.name} lacks what was acknowledged"
    verdict = judge(clients.history, Named())
    assert verdict is None, str(verdict)
    failures = [f"{daemon.name}: {text}" for daemon in managers for text in tracebacks(daemon)]
    assert not failures, "a daemon failed in a way that it does not know:\n" + "\n".join(failures)
    print(
        f"{len(clients.acknowledged)} writes acknowledged and kept; {len(clients.history)} requests for shared names are linearizable; "
        f"replicas equal at index {state.index}: {state.digest[:16]}",
        flush=True,
    )


def tracebacks(daemon: Daemon) -> Sequence[str]:
    """What its log has of them, with the line before and what follows."""
    lines = daemon.log.read_text(errors="replace").splitlines()
    return ["\n".join(lines[max(place - 1, 0) : place + 60]) for place, line in enumerate(lines) if "Traceback" in line]


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
