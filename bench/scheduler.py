"""How fast the scheduler places tasks on virtual clusters: its real loop, entries encoded, decoded and applied, no Raft and no disk.

    python -m bench.scheduler [--quick]

Prints a table, writes bench/results/scheduler.json, and draws what a task costs by tasks already placed (scheduler.svg).
The peer's figures are swarmkit's own benchmark on a like machine.
"""

import argparse
import asyncio
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.picture import curve, framed, scale
from bench.report import RESULTS, Figure, publish, wait_quiet
from bench.virtual import draw_id, fill, ready_nodes
from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import Change, Put
from cluster.api.objects import Cluster, Service, Task, TaskStatus
from cluster.api.specs import ContainerSpec, Reservations, Resources, ServiceSpec, TaskSpec
from cluster.api.states import TaskState
from manager.scheduler.loop import Scheduler
from manager.store.memory import MemoryProposer
from manager.store.store import Store


class Load:
    """A virtual cluster: ready nodes, services, and tasks that wait for a place."""

    def __init__(self, *, nodes: int, services: int, tasks: int, reserve: int = 0) -> None:
        self.nodes = nodes
        self.services = services
        self.tasks = tasks
        self._reserve = reserve

    def build(self) -> Iterator[Change]:
        yield Put(object=Cluster(id=draw_id()))
        yield from ready_nodes(draw_id() for _ in range(self.nodes))
        reserved = Resources(reservations=Reservations(nano_cpus=self._reserve, memory_bytes=self._reserve)) if self._reserve else None
        for number in range(self.services):
            template = TaskSpec(container_spec=ContainerSpec(image=f"image-{number}"), resources=reserved)
            yield Put(object=Service(id=draw_id(), spec=ServiceSpec(name=f"service-{number}", task_template=template)))

    def waiting(self, store: Store) -> Iterator[Change]:
        services = sorted(store.snapshot.services.values(), key=lambda service: service.id)
        for number in range(self.tasks):
            service = services[number % len(services)]
            yield Put(
                object=Task(
                    id=draw_id(),
                    service_id=service.id,
                    template_version=service.template_version,
                    slot=number // len(services) + 1,
                    status=TaskStatus(state=TaskState.PENDING, timestamp=1),
                )
            )


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
    (RESULTS / "scheduler.svg").write_text(await growth())
    return figures


async def growth() -> str:
    """The cost of a task must not grow with the tasks placed already: what each hundredth of 100,000 took."""
    load = Load(nodes=1_000, services=10, tasks=100_000)
    marks: list[tuple[int, float]] = [(0, 0.0)]

    def mark(placed: int, seconds: float) -> None:
        if placed >= len(marks) * load.tasks // 100:
            marks.append((placed, seconds))

    await measure(load, mark)
    costs = [(now - then) * 1e6 / (placed - before) for (before, then), (placed, now) in itertools.pairwise(marks)]
    first, last = (statistics.median(some) for some in (costs[:10], costs[-10:]))
    caption = (
        f"processor time a task, in µs, by tasks already placed: 0 to {load.tasks:,} of {load.services} services on {load.nodes:,} nodes; "
        f"the first point also sorts all that wait; median of the first tenth {first:.0f}, of the last {last:.0f}"
    )
    print(f"\n{caption}")
    top = max(costs)
    return framed(caption, [*scale(top), curve(costs, top, "#1f6f8b")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    args = parser.parse_args()
    publish("scheduler", asyncio.run(run(quick=args.quick)))


if __name__ == "__main__":
    main()
