"""How long a manager's event loop is silent at 100,000 tasks: while it makes and places them and takes snapshots of them, while a new
member reads such a snapshot, and while a leader begins anew with all of it.

    python -m bench.stall [--tasks 100000] [--rounds 3]

The real driver, LMDB with real syncs, the store and the leader's loops; the workers are nodes that say nothing. The member that reads the
snapshot lives in the loop of the one that sends it, so that phase shows both together. A stall that reaches the election timeout of 600 ms
would cost the leadership. Prints a histogram and writes bench/results/stall.json.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import uvloop

from bench.report import Figure, publish
from bench.virtual import draw_id, ready_nodes
from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import Change, Put
from cluster.api.objects import Cluster, Service
from cluster.api.specs import ClusterSpec, ContainerSpec, DispatcherConfig, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec
from cluster.api.states import TaskState
from manager.allocator.loop import Allocator
from manager.dispatcher.dispatcher import Dispatcher
from manager.orchestrator.loop import Orchestrator
from manager.raft.config import RaftConfig
from manager.raft.core.membership import Member as RaftMember
from manager.raft.core.membership import MemberId
from manager.raft.driver import Raft, bootstrap
from manager.raft.memory_network import MemoryNetwork
from manager.raft.opening import open_storage
from manager.raft.proposer import RaftProposer, StoreMachine
from manager.scheduler.loop import Scheduler
from manager.store.store import Store
from node_agent.machine import tame_collector

NODES, SERVICES = 1_000, 100
ELECTION_MS = 600
BOUNDS = (10, 20, 50, 100, 200, 400, ELECTION_MS)
SNAPSHOT_ENTRIES = 150  # each holds hundreds of changes here, so that several snapshots are taken of the growing state
HOUR = 3_600_000_000_000
CLOCK = SystemClock()


class Probe:
    """Sleeps 5 ms, again and again; what it oversleeps is a stall."""

    def __init__(self) -> None:
        self.stalls: list[float] = []

    async def run(self) -> None:
        while True:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            self.stalls.append((time.monotonic() - due) * 1000)


class Member:
    """One manager's store, disk and driver."""

    def __init__(self, name: str, folder: Path, network: MemoryNetwork, *, founds: bool, config: RaftConfig | None = None) -> None:
        self.store = Store()
        self.storage = open_storage(folder / name, key=bytes(32), cluster="bench")
        if founds:
            bootstrap(self.storage, [RaftMember(id=MemberId(name), address=name)])
        self.raft = Raft(
            MemberId(name), name, storage=self.storage, machine=StoreMachine(self.store), transport=network.transport_of(MemberId(name)),
            rng=Random(1), config=config or RaftConfig(snapshot_entries=SNAPSHOT_ENTRIES),
        )  # fmt: skip
        network.listen(name, self.raft.receive)
        self.proposer = RaftProposer(self.raft, CLOCK)

    def leading(self) -> tuple[Callable[[], object], ...]:
        """The loops that make, equip, place and deliver tasks."""
        dispatcher = Dispatcher(store=self.store, proposer=self.proposer, clock=CLOCK, managers=tuple, draw_id=draw_id)
        return (
            dispatcher.run,
            Allocator(self.store, self.proposer, CLOCK).run,
            Scheduler(self.store, self.proposer, CLOCK).run,
            Orchestrator(self.store, self.proposer, CLOCK, draw_id).run,
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self.store.latest.wait_change(self.store.latest.revision)


@asynccontextmanager
async def probed(phase: str, found: dict[str, list[float]]) -> AsyncIterator[None]:
    probe = Probe()
    began = time.monotonic()
    async with background(probe.run):
        yield
    found[phase] = probe.stalls
    print(f"{phase:<28}{time.monotonic() - began:>7.1f} s", flush=True)


def nodes() -> list[Change]:
    silent = ClusterSpec(dispatcher=DispatcherConfig(heartbeat_period=HOUR))
    return [Put(object=Cluster(id=draw_id(), spec=silent)), *ready_nodes(draw_id() for _ in range(NODES))]


def services(tasks: int) -> list[Change]:
    mode = ServiceMode(replicated=ReplicatedMode(replicas=tasks // SERVICES))
    template = TaskSpec(container_spec=ContainerSpec(image="image"))
    return [
        Put(object=Service(id=draw_id(), spec=ServiceSpec(name=f"service-{number}", mode=mode, task_template=template)))
        for number in range(SERVICES)
    ]


async def measure(folder: Path, tasks: int) -> dict[str, list[float]]:
    """The stalls in ms of each phase."""
    found: dict[str, list[float]] = {}
    network = MemoryNetwork()
    old, new = Member("a", folder, network, founds=True), Member("b", folder, network, founds=False)
    tame_collector()
    async with background(old.raft.run):
        async for now in old.raft.leadership.values():
            if now.is_established:
                break
        await old.proposer.propose(nodes())
        async with probed("make and place", found), background(*old.leading()):  # type: ignore[arg-type]
            await old.proposer.propose(services(tasks))
            await old.until(lambda: len(old.store.snapshot.tasks_by_state(TaskState.ASSIGNED)) == tasks)
        async with probed("a new member reads it", found), background(new.raft.run):
            await old.raft.add_member(MemberId("b"), "b", learner=False)
            await new.until(lambda: new.store.snapshot.version >= old.store.snapshot.version)
            await asyncio.sleep(1)
        assert new.store.snapshot.tasks == old.store.snapshot.tasks
        assert new.raft.status().snapshot_index > 0
        async with probed("a leader begins anew", found), background(*old.leading()):  # type: ignore[arg-type]
            await asyncio.sleep(5)
    old.storage.close()
    new.storage.close()
    return found


def show(rounds: list[dict[str, list[float]]]) -> list[Figure]:
    """All rounds' stalls in one table; the worst of each round as the samples."""
    print(f"\n{'stalls of the loop, in ms':<28}" + "".join(f"{f'<= {bound}':>9}" for bound in BOUNDS) + f"{'more':>8}{'worst':>9}")
    for phase in rounds[0]:
        stalls = [stall for one in rounds for stall in one[phase]]
        below = [sum(low < stall <= high for stall in stalls) for low, high in zip((-1, *BOUNDS), (*BOUNDS, 1e9), strict=False)]
        print(f"{phase:<28}" + "".join(f"{count:>9}" for count in below) + f"{max(stalls):>8.0f}")
    return [
        Figure(f"stall.worst_ms: {phase}", "ms", [max(one[phase]) for one in rounds], target=f"< {ELECTION_MS} (election timeout)")
        for phase in rounds[0]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(prefix="shoal-bench-stall-", dir="/var/tmp") as folder:
            rounds.append(uvloop.run(measure(Path(folder), asked.tasks)))
    publish("stall", show(rounds))


if __name__ == "__main__":
    main()
