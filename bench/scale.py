"""What a task takes: bytes of log from its making to ASSIGNED and to RUNNING, and memory of a manager that knows it.

    python -m bench.scale [--services 1000] [--tasks 100] [--nodes 1000]

The leader's real loops on a store without a disk; what the log on disk would take is counted entry by entry, keys and seals included.
Workers report as they do on an engine that is never quick: every state by itself. Writes bench/results/scale.json.
"""

import argparse
import asyncio
import gc
from collections.abc import Iterator, Sequence

import msgspec

from bench.report import Figure, publish
from bench.virtual import draw_id, fill, memory, ready_nodes, rng, services
from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import Change, ChangeSet, Put, TaskChange, encode_entry
from cluster.api.ids import Id
from cluster.api.objects import Cluster, TaskStatus
from cluster.api.states import TaskState
from manager.allocator.loop import Allocator
from manager.orchestrator.loop import Orchestrator
from manager.raft.core.entries import Command
from manager.raft.sealing import NONCE_SIZE
from manager.scheduler.loop import Scheduler
from manager.store.memory import MemoryProposer
from manager.store.store import Store
from node_agent.machine import tame_collector
from worker.lifecycle import LocalTask, Report, status_of
from worker.ports import ContainerState

KEY_AND_SEAL = 9 + 8 + NONCE_SIZE + 16
"""Bytes that the log on disk adds to an entry: its key, its term, a nonce and a tag."""
REPORTS = 500
"""What the dispatcher writes together."""
STEPS = (
    Report(state=TaskState.ACCEPTED, message="accepted"),
    Report(state=TaskState.PREPARING, message="preparing"),
    Report(state=TaskState.READY, message="prepared"),
    Report(state=TaskState.STARTING, message="starting"),
    Report(state=TaskState.RUNNING, message="started"),
)
clock = SystemClock()


class LoggedProposer:
    """Counts what the log on disk would take."""

    def __init__(self, proposer: MemoryProposer) -> None:
        self._proposer = proposer
        self.bytes = 0

    async def propose(self, changes: Sequence[Change]) -> int:
        index = await self._proposer.propose(changes)
        payload = encode_entry(ChangeSet(at=clock.wall(), changes=tuple(changes)))
        self.bytes += KEY_AND_SEAL + len(msgspec.msgpack.encode(Command(index=index, term=1, payload=payload)))
        return index


async def measure(count: int, *, tasks: int, nodes: int) -> list[Figure]:
    store = Store()
    proposer = LoggedProposer(MemoryProposer(store, clock))
    await proposer.propose([Put(object=Cluster(id=draw_id()))])
    await fill(proposer, ready_nodes(draw_id() for _ in range(nodes)))
    await fill(proposer, services(count, tasks=tasks))
    tame_collector()
    total, begun, proposer.bytes = count * tasks, memory(), 0
    loops = (Orchestrator(store, proposer, clock, draw_id), Allocator(store, proposer, clock), Scheduler(store, proposer, clock))
    async with background(*(loop.run for loop in loops)):
        async for now in store.snapshots():
            if len(now.tasks_by_state(TaskState.ASSIGNED)) == total:
                break
        assigned = proposer.bytes
        for step in STEPS:
            await fill(proposer, reported(sorted(store.snapshot.tasks), step), batch=REPORTS)
    gc.collect()
    return [
        Figure("scale.log_to_assigned", "B/task", [assigned / total], target="<= 600"),
        Figure("scale.log_to_running", "B/task", [proposer.bytes / total], target="<= 1,200"),
        Figure("scale.memory", "B/task", [(memory() - begun) / total], target="<= 3,072"),
    ]


def reported(task_ids: Sequence[Id], step: Report) -> Iterator[Change]:
    """As a worker words it."""
    for task_id in task_ids:
        container = ContainerState(id=rng.randbytes(32).hex(), running=step.state >= TaskState.STARTING, pid=rng.randrange(1 << 22))
        known = LocalTask(task_id=task_id, status=TaskStatus(), container_id=container.id if step.state >= TaskState.READY else "")
        yield TaskChange(id=task_id, status=status_of(step, known, container, now=clock.wall()))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--services", type=int, default=1_000)
    options.add_argument("--tasks", type=int, default=100, help="of each service")
    options.add_argument("--nodes", type=int, default=1_000)
    chosen = options.parse_args()
    publish("scale", asyncio.run(measure(chosen.services, tasks=chosen.tasks, nodes=chosen.nodes)))


if __name__ == "__main__":
    main()
