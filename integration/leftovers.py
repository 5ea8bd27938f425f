"""What a run of the tests makes on this machine, and how it goes: at the end of the run, or with the next one if it was killed.

All temporary folders are in one, `shoal-it-<pid>`, also those of the processes that the tests start; network namespaces bear the number of
the process that made them, which leaves that number in the folder. Nothing else on the machine is looked at.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PREFIX = "shoal-it-"
_MEMBERS = "processes"
_NAMESPACES = Path("/run/netns")


def begin() -> Path:
    """This run's folder. A process that one of the run started gets the same."""
    home = Path(os.environ.get("SHOAL_IT", "") or Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}")
    (home / _MEMBERS / str(os.getpid())).mkdir(parents=True, exist_ok=True)
    os.environ["SHOAL_IT"] = os.environ["TMPDIR"] = tempfile.tempdir = str(home)
    return home


def sweep(beside: Path) -> None:
    """Clear what runs left that are no more."""
    for home in beside.parent.glob(f"{_PREFIX}*"):
        owner = home.name.removeprefix(_PREFIX)
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            clear(home)


def clear(home: Path) -> None:
    """Processes, mounts, namespaces and the folder itself."""
    members = [path.name for path in (home / _MEMBERS).glob("*")]
    namespaces = [path for pid in members for end in ("", "-*") for path in _NAMESPACES.glob(f"shoal-*-{pid}{end}")]
    for _ in range(3):  # what they started meanwhile too: a daemon its engine
        end_all(processes_of(home) | {pid for namespace in namespaces for pid in _inhabitants(namespace.name)})
    for mount in mounts_under(home):
        subprocess.run(("umount", "-l", mount), capture_output=True, check=False)
    for namespace in namespaces:
        subprocess.run(("ip", "netns", "del", namespace.name), capture_output=True, check=False)
    shutil.rmtree(home, ignore_errors=True)


def processes_of(folder: Path) -> set[int]:
    """Those whose command lines name something in the folder, and what they started: the containers below the shims of an engine."""
    mark = os.fsencode(f"{folder}/")
    named, parents = set(), {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if mark in (entry / "cmdline").read_bytes():
                named.add(pid)
    return {pid for pid in parents if any(each in named for each in _line(pid, parents))} - set(_line(os.getpid(), parents))


def _line(pid: int, parents: Mapping[int, int]) -> Iterable[int]:
    """A process, its parent and so on."""
    while pid in parents:
        yield pid
        pid = parents[pid]


def end_all(processes: Iterable[int], seconds: float = 10) -> None:
    """Ask them to end, and end those that do not."""
    left = set(processes)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while (left := {pid for pid in left if _lives(pid)}) and time.monotonic() < deadline:
            time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Not gone, and not only waiting for its parent to ask how it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _inhabitants(namespace: str) -> set[int]:
    found = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=False)
    return {int(pid) for pid in found.stdout.split()} - {os.getpid()}


def mounts_under(folder: Path) -> Sequence[str]:
    """Innermost first."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)
