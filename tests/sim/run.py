"""Many lives of a cluster, each decided by its seed, on all cores; stops at the first broken promise and says how to see it again.

    python -m tests.sim.run --seeds 2000                              both kinds, 2,000 seeds of each
    python -m tests.sim.run managers --first 7 --seeds 1 --trace      what happened in one, line by line

`core` is the consensus with its storage, on a network of messages; `managers` are whole managers with their stores, loops and nodes.
"""

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import TextIO

from msgspec import Struct

from tests.sim import manager_world, raft_world

LENGTHS = {"core": 400.0, "managers": 20.0}
"""Of bad weather: ticks, seconds."""
AT_ONCE = 10
"""Seeds that a process is given together."""


class Part(Struct, frozen=True):
    """Some seeds of one kind."""

    kind: str
    first: int
    seeds: int
    length: float


class Outcome(Struct):
    """What became of a part: what there was of everything, or why a seed broke."""

    counts: dict[str, int]
    broken: str = ""


def live(kind: str, seed: int, length: float, tell: Callable[[str], None]) -> dict[str, int]:
    """One life; what there was of everything. Raises what broke."""
    if kind == "core":
        core = raft_world.simulate(seed, length=length)
        checks = core.checks
        return {"events": core.steps, "terms": len(checks.leaders), "writes": len(checks.acknowledged), "reads": checks.reads}
    world = manager_world.simulate(seed, length=length, tell=tell)
    tell(f"trace {world.trace.digest}")
    checks = world.checks.raft
    operations = len(world.history)
    return {"steps": world.loop.steps, "terms": len(checks.leaders), "entries": len(world.checks.states), "operations": operations,
            "restored snapshots": world.checks.restored_states, **world.tally.counts()}  # fmt: skip


def run(part: Part) -> Outcome:
    """In a process of its own."""
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    for seed in range(part.first, part.first + part.seeds):
        try:
            counts.update(live(part.kind, seed, part.length, lambda line: None))
        except Exception:  # noqa: BLE001 - whatever it is, the seed is the news
            return Outcome(dict(counts), f"{traceback.format_exc()}{said(part.kind, seed, part.length)}\n")
    return Outcome(dict(counts))


def said(kind: str, seed: int, length: float) -> str:
    """How to see it again."""
    return f"seed {seed} broke a promise; replay it with: python -m tests.sim.run {kind} --first {seed} --seeds 1 --length {length:g}"


def parts(kind: str, first: int, seeds: int, length: float) -> Iterator[Part]:
    for start in range(first, first + seeds, AT_ONCE):
        yield Part(kind, start, min(AT_ONCE, first + seeds - start), length)


def sweep(work: list[Part], out: TextIO) -> int:
    """All parts, on all cores; the exit code."""
    began, totals, done = time.monotonic(), {part.kind: Counter[str]() for part in work}, 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting: dict[Future[Outcome], Part] = {pool.submit(run, part): part for part in work}
        for finished in as_completed(waiting):
            outcome, part = finished.result(), waiting[finished]
            if outcome.broken:
                pool.shutdown(wait=False, cancel_futures=True)
                out.write(outcome.broken)
                return 1
            totals[part.kind].update(outcome.counts)
            totals[part.kind]["seeds"] += part.seeds
            done += part.seeds
            if done % 200 == 0:
                sys.stderr.write(f"{done} seeds kept all promises, {time.monotonic() - began:.0f} s\n")
    for kind, total in totals.items():
        seeds = total.pop("seeds")
        out.write(f"{kind}: {seeds} seeds kept all promises\n" + "".join(f"{count:12,} {what}\n" for what, count in total.items()))
    out.write(f"{time.monotonic() - began:.0f} s\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=("core", "managers", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--length", type=float, default=None, help="ticks (core) or seconds (managers) of bad weather in each")
    parser.add_argument("--trace", action="store_true", help="one seed, line by line")
    asked = parser.parse_args()
    kinds = ("core", "managers") if asked.kind == "both" else (asked.kind,)
    lengths = {kind: asked.length or LENGTHS[kind] for kind in kinds}
    if asked.trace:
        logging.disable(logging.CRITICAL)
        for kind in kinds:
            live(kind, asked.first, lengths[kind], lambda line: print(line, flush=True))  # noqa: T201 - asked for
        return 0
    return sweep([part for kind in kinds for part in parts(kind, asked.first, asked.seeds, lengths[kind])], sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
