"""What a million small writes leave behind: the manager's memory and the disk that its log and snapshots take, write by write.

    python -m bench.growth [--writes 1000000]

The real driver, LMDB with real syncs and the store, one member: 64 writers change labels of 500 services, each remembered as a request, as
`service update` does. Looked at every 0.1 s; a point is the most that was seen over 20,000 writes, so what a snapshot needs beside the one
before it counts. Writes bench/results/growth.json and growth.svg.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from msgspec.structs import replace

from bench.picture import curve, framed, scale
from bench.report import RESULTS, Figure, publish
from bench.stall import Member
from bench.virtual import memory
from cluster.aio.supervise import background
from cluster.api.changes import Put, Remember
from cluster.api.ids import Id
from cluster.api.objects import Service
from cluster.api.specs import ContainerSpec, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec
from manager.raft.config import RaftConfig
from manager.raft.memory_network import MemoryNetwork
from node_agent import machine

SERVICES, WRITERS = 500, 64
POINT = 20_000
"""Writes a point of the curve."""
LOOK_EVERY = 0.1
MEMORY, DISK = "#1f6f8b", "#c0392b"


class Curve:
    """The most that was seen of each, in MiB, a point for every 20,000 writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.writes = 0
        self.memory: list[float] = []
        self.disk: list[float] = []

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        for points, now in ((self.memory, memory() / 2**20), (self.disk, disk_mib(self._folder))):
            points.extend([0.0] * (self.writes // POINT + 1 - len(points)))
            points[-1] = max(points[-1], now)


def disk_mib(folder: Path) -> float:
    """What the files take, holes not counted; one may go while this looks."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total / 2**20


async def write(member: Member, seen: Curve, mine: Sequence[Id], writes: int) -> None:
    while seen.writes < writes:
        for service_id in mine:
            service = member.store.snapshot.services[service_id]
            spec = replace(service.spec, labels={"write": str(seen.writes)})
            changed = Put(object=replace(service, spec=spec, previous_spec=service.spec, history=()), base=service.version)
            await member.proposer.propose([changed, Remember(request_id=machine.draw_id(), object_id=service_id)])
            seen.writes += 1


async def measure(folder: Path, writes: int) -> Curve:
    member = Member("a", folder, MemoryNetwork(), founds=True, config=RaftConfig())
    seen = Curve(folder)
    machine.tame_collector()
    began = time.monotonic()
    async with background(member.raft.run):
        async for now in member.raft.leadership.values():
            if now.is_established:
                break
        ids = [machine.draw_id() for _ in range(SERVICES)]
        mode, template = ServiceMode(replicated=ReplicatedMode(replicas=0)), TaskSpec(container_spec=ContainerSpec(image="image"))
        for number, service_id in enumerate(ids):
            spec = ServiceSpec(name=f"service-{number}", mode=mode, task_template=template)
            await member.proposer.propose([Put(object=Service(id=service_id, spec=spec))])
        async with background(seen.run), asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                writers.create_task(write(member, seen, ids[number::WRITERS], writes))
    member.storage.close()
    print(f"{seen.writes} writes in {time.monotonic() - began:.0f} s")
    return seen


def draw(found: Curve) -> str:
    top = max(*found.memory, *found.disk)
    caption = f"{found.writes:,} small writes from left to right: MiB of memory (blue), MiB of log and snapshots on disk (red)"
    return framed(caption, (*scale(top), curve(found.memory, top, MEMORY), curve(found.disk, top, DISK)))


def figures(found: Curve) -> list[Figure]:
    """The first tenth fills what is bounded (remembered requests, histories, the log up to its first snapshots); the rest adds nothing."""
    rows = []
    for name, points in (("rss", found.memory), ("disk", found.disk)):
        tenth = max(1, len(points) // 10)
        early, late = max(points[:tenth]), max(points[-tenth:])
        rows += [
            Figure(f"growth.{name}_first_tenth_mib", "MiB", [early]),
            Figure(f"growth.{name}_last_tenth_mib", "MiB", [late]),
            Figure(f"growth.{name}_last_to_first", "", [late / early], target="<= 1.2"),
        ]
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--writes", type=int, default=1_000_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-growth-", dir="/var/tmp") as folder:
        found = uvloop.run(measure(Path(folder), chosen.writes))
    publish("growth", figures(found))
    (RESULTS / "growth.svg").write_text(draw(found))


if __name__ == "__main__":
    main()
