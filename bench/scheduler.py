"""How fast the scheduler places tasks on virtual clusters: its real loop, entries encoded, decoded and applied, no Raft and no disk.

    python -m bench.scheduler [--quick]

Prints a table and writes bench/results/scheduler.json. The peer's figures are swarmkit's own benchmark on a like machine.
"""

import argparse
import asyncio
import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.report import Figure, publish, wait_quiet
from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import Change, Put
from cluster.api.ids import Id, from_bytes
from cluster.api.objects import Cluster, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import SECOND, ContainerSpec, Reservations, Resources, ServiceSpec, TaskSpec
from cluster.api.states import NodeState, TaskState
from manager.scheduler.loop import Scheduler
from manager.store.memory import MemoryProposer
from manager.store.store import Store


class Load:
    """A virtual cluster: ready nodes, services, and tasks that wait for a place."""

    def __init__(self, *, nodes: int, services: int, tasks: int, reserve: int = 0) -> None:
        self._rng = random.Random(1)
        self.nodes = nodes
        self.services = services
        self.tasks = tasks
        self._reserve = reserve

    def draw_id(self) -> Id:
        return from_bytes(self._rng.randbytes(16))

    def build(self) -> Iterator[Change]:
        yield Put(object=Cluster(id=self.draw_id()))
        has = Reservations(nano_cpus=1_000 * SECOND, memory_bytes=1 << 50)
        for number in range(self.nodes):
            description = NodeDescription(hostname=f"host-{number}", resources=has)
            yield Put(object=Node(id=self.draw_id(), description=description, status=NodeStatus(state=NodeState.READY)))
        reserved = Resources(reservations=Reservations(nano_cpus=self._reserve, memory_bytes=self._reserve)) if self._reserve else None
        for number in range(self.services):
            template = TaskSpec(container_spec=ContainerSpec(image=f"image-{number}"), resources=reserved)
            yield Put(object=Service(id=self.draw_id(), spec=ServiceSpec(name=f"service-{number}", task_template=template)))

    def waiting(self, store: Store) -> Iterator[Change]:
        services = sorted(store.snapshot.services.values(), key=lambda service: service.id)
        for number in range(self.tasks):
            service = services[number % len(services)]
            yield Put(
                object=Task(
                    id=self.draw_id(),
                    service_id=service.id,
                    template_version=service.template_version,
                    slot=number // len(services) + 1,
                    status=TaskStatus(state=TaskState.PENDING, timestamp=1),
                )
            )


async def fill(proposer: MemoryProposer, changes: Iterator[Change]) -> None:
    batch: list[Change] = []
    for change in changes:
        batch.append(change)
        if len(batch) == 2000:
            await proposer.propose(batch)
            batch = []
    if batch:
        await proposer.propose(batch)


class Taken(NamedTuple):
    """What placing every task took."""

    seconds: float
    cpu_seconds: float


async def measure(load: Load, checkpoints: Callable[[int, float], None] | None = None) -> Taken:
    """From the loop's start until every task is assigned."""
    store = Store()
    proposer = MemoryProposer(store, SystemClock())
    await fill(proposer, load.build())
    await fill(proposer, load.waiting(store))
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000_000)  # as in the daemon: no full collections while it works
    wait_quiet(at_most=20)
    began, began_cpu = time.perf_counter(), time.process_time()
    async with background(Scheduler(store, proposer, SystemClock()).run):
        revision = store.latest.revision
        while left := len(store.snapshot.tasks_by_state(TaskState.PENDING)):
            if checkpoints is not None:
                checkpoints(load.tasks - left, time.process_time() - began_cpu)
            revision = await store.latest.wait_change(revision)
    return Taken(time.perf_counter() - began, time.process_time() - began_cpu)


CASES = (
    ("scheduler.grouped_1kn_100kt", Load(nodes=1_000, services=10, tasks=100_000), 10_100, 30_000, 3),
    ("scheduler.oneoff_1kn_10kt", Load(nodes=1_000, services=10_000, tasks=10_000), 5_600, 17_000, 5),
    ("scheduler.oneoff_100kn_1kt", Load(nodes=100_000, services=1_000, tasks=1_000), 33, 1_000, 3),
    ("scheduler.grouped_reserving_1kn_100kt", Load(nodes=1_000, services=10, tasks=100_000, reserve=1 << 20), None, 30_000, 1),
    ("scheduler.oneoff_reserving_1kn_10kt", Load(nodes=1_000, services=10_000, tasks=10_000, reserve=1 << 20), None, 17_000, 1),
)


async def run(*, quick: bool) -> list[Figure]:
    """Wall clock first; beside it what a second of the processor placed, which other work on the machine disturbs less."""
    figures = []
    for metric, load, peer, target, repeats in CASES:
        taken = [await measure(load) for _ in range(1 if quick else repeats)]
        peers = () if peer is None else (float(peer),)
        figures.append(Figure(metric, "tasks/s", [load.tasks / one.seconds for one in taken], peers, f">= {target:,}"))
        figures.append(Figure(f"{metric}_cpu", "tasks/cpu-s", [load.tasks / one.cpu_seconds for one in taken]))
    await growth()
    return figures


async def growth() -> None:
    """The cost of a task must not grow with the tasks placed already: the rate of each tenth of 100,000."""
    marks: list[tuple[int, float]] = [(0, 0.0)]

    def mark(placed: int, seconds: float) -> None:
        if placed >= len(marks) * 10_000:
            marks.append((placed, seconds))

    await measure(Load(nodes=1_000, services=10, tasks=100_000), mark)
    print("\ngrouped, 1k nodes: tasks per cpu-second, by tasks already placed")
    for (before, then), (placed, now) in itertools.pairwise(marks):
        rate = (placed - before) / (now - then)
        print(f"  {before:7,} .. {placed:7,}  {rate:9,.0f}  {'#' * int(rate / 2_000)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    args = parser.parse_args()
    publish("scheduler", asyncio.run(run(quick=args.quick)))


if __name__ == "__main__":
    main()
