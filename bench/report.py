"""What every benchmark does with its figures: waits for a quiet machine, prints a table, writes bench/results/NAME.json.

A figure is a ratio to a peer or a limit measured in the same run wherever there is one.
"""

import argparse
import asyncio
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

Found = TypeVar("Found")
RESULTS = Path(__file__).resolve().parent / "results"


class Figure(NamedTuple):
    """One metric: all samples of ours, and of the peer's where it was measured too."""

    metric: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float] = ()
    target: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        return self.value / statistics.median(self.peer) if self.peer else None


def machine() -> str:
    """The processor, its cores, the kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in lines)
    return f"{cores} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


def show(name: str, figures: Sequence[Figure]) -> None:
    """Print the table."""
    print(f"\n{name}: {machine()}")
    print(f"{'metric':<34}{'ours':>12}{'[min - max]':>22}{'peer':>12}{'ratio':>8}  target")
    for figure in figures:
        peer = f"{statistics.median(figure.peer):.4g}" if figure.peer else ""
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        spread = f"[{min(figure.ours):.4g} - {max(figure.ours):.4g}] {figure.unit}"
        print(f"{figure.metric:<34}{figure.value:>12.4g}{spread:>22}{peer:>12}{ratio:>8}  {figure.target}")


def publish(name: str, figures: Sequence[Figure]) -> None:
    """Print the table and write the file."""
    show(name, figures)
    _write(name, _rows(figures))


def publish_part(name: str, figures: Sequence[Figure]) -> None:
    """The same for a bench that was run in part: the file's other rows stay, with the time that they were measured at."""
    show(name, figures)
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_text()) if file.exists() else []
    measured = {row["metric"]: row for row in _rows(figures)}
    kept = [measured.pop(row["metric"], row) for row in before]
    _write(name, [*kept, *measured.values()])


def _rows(figures: Sequence[Figure]) -> list[dict[str, object]]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        {
            "metric": figure.metric,
            "value": figure.value,
            "unit": figure.unit,
            "n": len(figure.ours),
            "min": min(figure.ours),
            "max": max(figure.ours),
            "peer": statistics.median(figure.peer) if figure.peer else None,
            "ratio": figure.ratio,
            "when": when,
            "machine": machine(),
        }
        for figure in figures
    ]


def _write(name: str, rows: Sequence[dict[str, object]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


def wait_quiet(*, at_most: float = 10.0, window: float = 0.5, idle: float = 0.85) -> bool:
    """Wait for a moment in which the machine is mostly idle; False if there was none in time."""
    deadline = time.monotonic() + at_most
    while time.monotonic() < deadline:
        total, quiet = _ticks()
        time.sleep(window)
        total_after, quiet_after = _ticks()
        if (quiet_after - quiet) >= idle * (total_after - total):
            return True
    return False


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[:8]), fields[3] + fields[4]


def in_rounds(
    name: str,
    page: str,
    tools: Mapping[str, str],
    bench: Callable[[Path, int, int], Coroutine[None, None, Found]],
    figures: Callable[[Found], Sequence[Figure]],
) -> int:
    """The `main` of a bench that measures several ways in turns; returns the exit status.

    `tools`: program -> its Debian package. `bench` takes a folder, the rounds and the seconds of each measurement.
    """
    options = argparse.ArgumentParser(description=page.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seconds", type=int, default=1, help="of each measurement (default %(default)s)")
    wanted = options.parse_args()
    if missing := [package for tool, package in tools.items() if shutil.which(tool) is None]:
        print(f"bench.{name} needs {', '.join(missing)}: apt-get install -y --no-install-recommends {' '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix=f"shoal-{name}-", ignore_cleanup_errors=True) as folder:
        found = asyncio.run(bench(Path(folder), wanted.rounds, wanted.seconds))
    publish(name, figures(found))
    return 0
