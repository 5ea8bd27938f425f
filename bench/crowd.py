"""What a thousand workers cost their leader, in cores: while they beat, while they report, while tasks fail.

    python -m bench.crowd [--nodes 1000] [--services 100] [--tasks 100] [--seconds 20]

The leader is the real one in this process (integration/crowd_rig.py), the workers are another. Writes bench/results/crowd.json.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path

from bench.report import Figure, publish
from bench.virtual import fill, ready_nodes, services
from cluster.api.states import NodeState, TaskState
from cluster.rpc import loop, tls
from integration.crowd_rig import CrowdProcess, LoneLeader, crowd
from node_agent.machine import draw_id, tame_collector

PATIENCE = 240.0
AT_ONCE = 5
TALKS = (
    ("crowd.beats", ("report 0",), "<= 0.5"),
    ("crowd.beats_100_statuses_a_s", ("report 100",), "<= 0.5"),
    ("crowd.beats_10_failures_a_s", ("report 0", "fail 10"), ""),
)


async def measure(chosen: argparse.Namespace, folder: Path) -> list[Figure]:
    tame_collector()
    leader, nodes = LoneLeader(folder), [draw_id() for _ in range(chosen.nodes)]
    async with leader.leading():
        await fill(leader.proposer, ready_nodes(nodes))
        async with crowd(leader, nodes, folder) as workers, asyncio.timeout(PATIENCE + 10 * chosen.seconds):
            await all_standing(workers, chosen.nodes)
            await start_tasks(leader, chosen.services, chosen.tasks)
            figures = []
            for metric, words, target in TALKS:
                for word in words:
                    await workers.tell(word)
                await asyncio.sleep(3)
                figures.append(Figure(metric, "cores", await shares(chosen.seconds), target=target))
                if await missing(leader, workers, chosen.nodes):
                    raise RuntimeError(f"workers were lost meanwhile: {metric} is not a figure of {chosen.nodes}")
            return figures


async def all_standing(workers: CrowdProcess, count: int) -> None:
    while (await workers.seen()).standing < count:
        await asyncio.sleep(0.1)


async def start_tasks(leader: LoneLeader, count: int, tasks: int) -> None:
    """Not all services at once: the workers' process would keep the leader from its half of the machine."""
    changes = services(count, tasks=tasks)
    for number in range(0, count, AT_ONCE):
        await fill(leader.proposer, itertools.islice(changes, 2 * AT_ONCE))
        async for now in leader.store.snapshots():
            if len(now.tasks_by_state(TaskState.RUNNING)) >= min(number + AT_ONCE, count) * tasks:
                break


async def missing(leader: LoneLeader, workers: CrowdProcess, count: int) -> int:
    down = sum(node.status.state is NodeState.DOWN for node in leader.store.snapshot.nodes.values() if node.id != leader.me)
    return max(down, count - (await workers.seen()).standing)


async def shares(seconds: float, parts: int = 4) -> list[float]:
    """Of one core, this process's."""
    found = []
    for _ in range(parts):
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds / parts)
        found.append((time.process_time() - cpu) / (time.monotonic() - began))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=1_000)
    options.add_argument("--services", type=int, default=100)
    options.add_argument("--tasks", type=int, default=100, help="of each service")
    options.add_argument("--seconds", type=float, default=20.0, help="each share of the processor is taken for so long")
    chosen = options.parse_args()
    tls.prepare_environment()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-crowd-", dir="/var/tmp") as folder:
        publish("crowd", loop.run(measure(chosen, Path(folder))))


if __name__ == "__main__":
    main()
