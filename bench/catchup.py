"""A follower that missed 100,000 entries comes back while clients write: how long until it is level, and what that costs the others.

    python -m bench.catchup [--rounds 3] [--entries 100000]

Three members, processes with real syncs, over gRPC with mutual TLS. A follower is killed, the others go on until it lacks so many entries
that their log has dropped what it needs, and it is started again: it reads the leader's snapshot, then the log. From its start until it is
level eight proposers in the leader write without pause, as they did before it was lost. Writes bench/results/catchup.json.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.report import Figure, publish
from integration.raft_rig import MemberGroup, MemberProcess, members

PROPOSERS, SIZE = 8, 256
STEADY = 4.0
"""Seconds of load with which the time of catching up is compared."""
WINDOW = 0.5
"""Seconds of load after which the leader hands over what it measured, and is told to go on if the follower is not level."""
LEVEL = 500
"""Entries; nearer than this it is no further behind than a pipeline under load makes it."""


class Round(NamedTuple):
    steady_p99_ms: float
    during_p99_ms: float
    took_s: float
    missed: int


def p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]


async def write(leader: MemberProcess, *, seconds: float, proposers: int = PROPOSERS) -> list[float]:
    taken: list[float] = await leader.tell("latencies", proposers=proposers, seconds=seconds, size=SIZE, timeout=seconds + 30)
    return taken


async def last_index(member: MemberProcess) -> int:
    index: int = (await member.tell("status"))["last_index"]
    return index


async def one_round(group: MemberGroup, entries: int) -> Round:
    leader = await group.leader()
    follower = next(member for member in group.members if member is not leader)
    steady = await write(leader, seconds=STEADY)
    has = await last_index(follower)
    await follower.kill()
    while (missed := await last_index(leader) - has) < entries:
        await write(leader, seconds=WINDOW, proposers=64)
    coming = asyncio.ensure_future(come_back(leader, follower))
    during: list[float] = []
    while not coming.done():
        during += await write(leader, seconds=WINDOW)
    took = await coming
    by_snapshot = (await follower.tell("status"))["snapshot_index"]
    if by_snapshot <= has or (await group.leader()) is not leader:
        raise RuntimeError(f"that was no snapshot (index {by_snapshot}, it had {has}), or the leader changed")
    return Round(p99(steady), p99(during), took, missed)


async def come_back(leader: MemberProcess, follower: MemberProcess) -> float:
    """Start it; the seconds until it has applied what the leader had committed a moment before."""
    began = time.monotonic()
    await follower.start()
    while True:
        commit: int = (await leader.tell("status"))["commit"]
        if (await follower.tell("status"))["applied"] >= commit - LEVEL:
            return time.monotonic() - began
        await asyncio.sleep(0.05)


async def measure(rounds: int, entries: int) -> list[Round]:
    found: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="shoal-bench-catchup-", dir="/var/tmp") as folder:
        async with members(Path(folder), link="grpc", count=3) as group:
            for number in range(1, rounds + 1):
                found.append(await one_round(group, entries))
                print(f"{number}: " + ", ".join(f"{name} {value:.4g}" for name, value in found[-1]._asdict().items()), flush=True)
    return found


def figures(found: list[Round]) -> list[Figure]:
    return [
        Figure("catchup.steady_p99_ms", "ms", [one.steady_p99_ms for one in found]),
        Figure("catchup.during_p99_ms", "ms", [one.during_p99_ms for one in found]),
        Figure("catchup.p99_ratio", "", [one.during_p99_ms / one.steady_p99_ms for one in found], target="<= 3"),
        Figure("catchup.level_after_s", "s", [one.took_s for one in found]),
        Figure("catchup.missed_entries", "", [one.missed for one in found]),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--entries", type=int, default=100_000)
    chosen = options.parse_args()
    publish("catchup", figures(asyncio.run(measure(chosen.rounds, chosen.entries))))


if __name__ == "__main__":
    main()
