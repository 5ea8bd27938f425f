"""`python -m tests.sim.raft_sim --seeds n`: many lives of a cluster, each decided by its seed; stops at the first broken promise."""

import argparse
import sys
import time
import traceback

from tests.sim.raft_world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--length", type=float, default=400.0, help="ticks of bad weather in each")
    asked = parser.parse_args()
    began, steps, writes, reads, terms = time.monotonic(), 0, 0, 0, 0
    for seed in range(asked.first, asked.first + asked.seeds):
        try:
            world = simulate(seed, length=asked.length)
        except Exception:  # noqa: BLE001 - whatever it is, the seed is the news
            traceback.print_exc()
            sys.stdout.write(f"seed {seed} broke a promise; replay it with --first {seed} --seeds 1 --length {asked.length}\n")
            return 1
        steps += world.steps
        writes += len(world.checks.acknowledged)
        reads += world.checks.reads
        terms += len(world.checks.leaders)
        if (seed + 1) % 100 == 0:
            sys.stderr.write(f"seeds up to {seed}: all kept, {time.monotonic() - began:.0f} s\n")
    took = time.monotonic() - began
    sys.stdout.write(f"{asked.seeds} seeds, {steps} events, {terms} leaders, {writes} writes and {reads} reads: all kept, {took:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
