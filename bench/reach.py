"""What it costs that a container is on another node: `docker exec` on a manager, beside the same on the container's own node.

make bench-reach
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.report import Figure, publish
from integration.cluster_rig import Cluster, Daemon, busybox_archive

ROUNDS = 15
BULK_ROUNDS = 3
MIB = 256


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="shoal-reach-") as folder, Cluster("reach", Path(folder), network="10.95.0") as cluster:
        manager = cluster.bring_up(managers=1, workers=1, archive=busybox_archive(Path(folder)))
        home = cluster.daemons["w1"]
        flags = ("--detach", "--no-resolve-image", "--constraint", "node.role==worker")
        manager.docker("service", "create", "--name", "talk", *flags, "shoal-lab", "sleep", "100000")
        (task,) = manager.wait_running("talk", 1)
        container = task["Status"]["ContainerStatus"]["ContainerID"]
        out = ("exec", container, "dd", "if=/dev/zero", "bs=1M", f"count={MIB}")
        into = ("exec", "-i", container, "dd", "of=/dev/null", "bs=1M")
        publish(
            "reach",
            [
                _beside("reach.exec_ms", manager, home, ("exec", container, "true")),
                _beside("reach.inspect_ms", manager, home, ("inspect", container)),
                _beside("reach.logs_ms", manager, home, ("logs", container)),
                _bulk("reach.stdout_mib_s", manager, home, out),
                _bulk("reach.stdin_mib_s", manager, home, into, fed=True),
            ],
        )


def _beside(metric: str, manager: Daemon, home: Daemon, words: Sequence[str]) -> Figure:
    """The client's whole process, ms: there and here in turn, after one of each that does not count."""
    there, here = list[float](), list[float]()
    for _ in range(ROUNDS + 1):
        for daemon, times in ((manager, there), (home, here)):
            times.append(_seconds(daemon, words) * 1000)
    return Figure(metric, "ms", there[1:], here[1:])


def _bulk(metric: str, manager: Daemon, home: Daemon, words: Sequence[str], *, fed: bool = False) -> Figure:
    rates: list[list[float]] = [[], []]
    for _ in range(BULK_ROUNDS):
        for daemon, found in zip((manager, home), rates, strict=True):
            found.append(MIB / _seconds(daemon, words, fed=fed))
    return Figure(metric, "MiB/s", rates[0], rates[1])


def _seconds(daemon: Daemon, words: Sequence[str], *, fed: bool = False) -> float:
    source = subprocess.Popen(("head", "-c", str(MIB << 20), "/dev/zero"), stdout=subprocess.PIPE) if fed else None
    begun = time.perf_counter()
    command = ("docker", "-H", daemon.url, *words)
    stdin = source.stdout if source is not None else subprocess.DEVNULL
    subprocess.run(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    took = time.perf_counter() - begun
    if source is not None:
        source.wait()
    return took


if __name__ == "__main__":
    main()
