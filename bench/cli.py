"""How long `service ls` takes as a whole process, beside the docker CLI on the same socket.

    python -m bench.cli [--socket PATH] [--runs 20]

Prints a table and writes bench/results/cli.json. Without a socket it starts a dockerd in swarm mode of its own.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from integration.worker_rig import dockerd, why_not

RESULTS = Path(__file__).parent / "results" / "cli.json"
ROOT = Path(__file__).resolve().parents[1]
SHOAL = ROOT / ".venv" / "bin" / "shoal"
TARGET_MS = 100.0
LINES = {
    "cli.service_ls_ms": ("service", "ls"),
    "cli.service_ps_ms": ("service", "ps", "bench-cli"),
    "cli.node_ls_ms": ("node", "ls"),
    "cli.help_ms": ("--help",),
}


class Times(NamedTuple):
    """Milliseconds of a whole process, one a run: on the clock, and of the processor."""

    wall: list[float]
    cpu: list[float]


def timed(commands: Sequence[Sequence[str]], runs: int) -> list[Times]:
    """Each command's times, taken in turn and in quiet moments; the first round, with cold caches, does not count."""
    found = [Times([], []) for _ in commands]
    for number in range(runs + 1):
        wait_quiet()
        for command, times in zip(commands, found, strict=True):
            used, begun = _children_seconds(), time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if number:
                times.wall.append((time.perf_counter() - begun) * 1000)
                times.cpu.append((_children_seconds() - used) * 1000)
    return found


def wait_quiet(*, within: float = 3.0, window: float = 0.2, idle: float = 0.8) -> None:
    """Other work on the machine is not ours to measure: wait for a window in which the processors are mostly idle, but not for ever."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        before = _ticks()
        time.sleep(window)
        total, unused = (after - start for after, start in zip(_ticks(), before, strict=True))
        if unused >= idle * total:
            return


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields), fields[3] + fields[4]


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def swarm(given: str | None) -> Iterator[str]:
    """A swarm's socket, with one service on it."""
    if given:
        with service(given):
            yield given
        return
    if missing := why_not():
        sys.exit(f"bench.cli: {missing}")
    with dockerd("shoal-cli-bench", settings={"live-restore": False}) as rig:
        rig.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        socket = rig.address.removeprefix("unix://")
        with service(socket):
            yield socket
        rig.docker("swarm", "leave", "--force")


@contextmanager
def service(socket: str) -> Iterator[None]:
    base = ["docker", "-H", f"unix://{socket}", "service"]
    options = ["--detach", "--no-resolve-image", "--replicas", "0", "--name", "bench-cli"]
    subprocess.run([*base, "create", *options, "shoal-test:1"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*base, "rm", "bench-cli"], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", help="of a manager, ours or Docker's")
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    ours = [str(SHOAL)] if SHOAL.exists() else [sys.executable, "-m", "cli.main"]
    machine = f"{platform.machine()}, {os.cpu_count()} cpus, Python {platform.python_version()}"
    rows = []
    print(f"{machine}; load {os.getloadavg()[0]:.1f}; medians of {asked.runs} [min-max], ms, whole process\n")
    print(f"{'':<22}{'shoal':>22}{'cpu':>8}{'docker':>22}{'ratio':>8}")
    with swarm(asked.socket) as socket:
        for metric, line in LINES.items():
            times = timed([[*program, "-H", f"unix://{socket}", *line] for program in (ours, ["docker"])], asked.runs)
            walls = [one.wall for one in times]
            medians = [statistics.median(wall) for wall in walls]
            shown = [f"{median:.1f} [{min(wall):.1f}-{max(wall):.1f}]" for median, wall in zip(medians, walls, strict=True)]
            cpu = statistics.median(times[0].cpu)
            print(f"{metric:<22}{shown[0]:>22}{cpu:>8.1f}{shown[1]:>22}{medians[0] / medians[1]:>8.2f}")
            rows.append(
                {
                    "metric": metric,
                    "value": round(medians[0], 1),
                    "unit": "ms",
                    "n": asked.runs,
                    "min": round(min(walls[0]), 1),
                    "max": round(max(walls[0]), 1),
                    "peer": round(medians[1], 1),
                    "ratio": round(medians[0] / medians[1], 2),
                    "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "machine": machine,
                    "cpu_ms": round(cpu, 1),
                }
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    met = float(rows[0]["value"]) <= TARGET_MS
    print(f"\nservice ls: {rows[0]['value']} ms, to be at most {TARGET_MS:g}: {'met' if met else 'MISSED'}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
