"""How fast members agree: proposals a second and how long one takes, with each member a process of its own and real syncs.

    python -m bench.raft [--link grpc|unix] [--seconds 4] [--rounds 3] [--size 256]

The proposers are coroutines in the leader, as in the peer's test; the peer's figures are of swarmkit's Raft on a like machine, with all
members in one process. Prints a table and writes bench/results/raft.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from integration.raft_rig import members

RESULTS = Path(__file__).parent / "results" / "raft.json"
LINKS = {"grpc": "gRPC over mutual TLS 1.3, 127.0.0.1", "unix": "plain unix sockets: no TLS, so not the figure to compare"}


class Case(NamedTuple):
    count: int
    proposers: int
    peer_per_s: float
    peer_p50_ms: float


# The peer's: raw proposals for one member at 64, through its store for the others (PEERS, section 2).
CASES = (Case(1, 1, 4330, 0.19), Case(1, 64, 41400, 1.2), Case(3, 1, 819, 1.0), Case(3, 64, 820, 77.0))


async def measure(count: int, link: str, seconds: float, rounds: int, size: int) -> dict[int, list[dict[str, Any]]]:
    """By number of proposers, one result a round; the rounds are interleaved."""
    results: dict[int, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="shoal-bench-raft-", dir="/var/tmp") as folder:
        async with members(Path(folder), link=link, count=count) as group:
            for _ in range(rounds):
                for case in (case for case in CASES if case.count == count):
                    leader = await group.leader()
                    await leader.tell("load", proposers=case.proposers, seconds=0.5, size=size)
                    result = await leader.tell("load", proposers=case.proposers, seconds=seconds, size=size, timeout=seconds + 30)
                    results.setdefault(case.proposers, []).append(result)
    return results


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cpus, Python {platform.python_version()}"


def rows(case: Case, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the form of bench/results: one row a metric."""
    made = []
    for metric, unit, key, peer in (
        ("proposals_per_s", "1/s", "per_s", case.peer_per_s),
        ("p50_ms", "ms", "p50_ms", case.peer_p50_ms),
        ("p99_ms", "ms", "p99_ms", None),
    ):
        values = [result[key] for result in results]
        value = statistics.median(values)
        made.append(
            {
                "metric": f"raft.{metric}_{case.count}m_{case.proposers}p",
                "value": round(value, 3),
                "unit": unit,
                "n": len(values),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "peer": peer,
                "ratio": round(value / peer, 2) if peer else None,
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "machine": machine(),
            }
        )
    return made


async def run(asked: argparse.Namespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    print(f"Members are processes; {LINKS[asked.link]}; LMDB with one sync a batch; {asked.size} B a proposal; {machine()}")
    print(f"{'members':>7} {'proposers':>9} {'proposals/s':>12} {'[min-max]':>17} {'p50 ms':>8} {'p99 ms':>8} {'peer/s':>8} {'ratio':>6}")
    for count in (1, 3):
        results = await measure(count, asked.link, asked.seconds, asked.rounds, asked.size)
        for case in (case for case in CASES if case.count == count):
            made = rows(case, results[case.proposers])
            found += made
            rate, p50, p99 = made
            spread = f"[{rate['min']:.0f}-{rate['max']:.0f}]"
            print(
                f"{count:>7} {case.proposers:>9} {rate['value']:>12.0f} {spread:>17} {p50['value']:>8.2f} {p99['value']:>8.2f} "
                f"{case.peer_per_s:>8.0f} {rate['ratio']:>6.2f}"
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", choices=sorted(LINKS), default="grpc", help="what carries the frames between members")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each round takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256, help="bytes a proposal")
    asked = parser.parse_args()
    found = asyncio.run(run(asked))
    if asked.link == "grpc":
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written to {RESULTS.relative_to(Path.cwd())}")
    else:
        print("not written: the figures to keep are those over gRPC")
    return 0


if __name__ == "__main__":
    sys.exit(main())
