"""What one manager's daemon costs: VmRSS without services and with 100 tasks, the engine apart.

make bench-daemon
"""

import time
from pathlib import Path

from bench.peers import Connection, both_sides, remove, spec, wait_running
from bench.report import Figure, publish

SETTLE = 5.0


def rss_mib(pids: tuple[int, ...]) -> float:
    kib = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kib += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kib / 1024


def main() -> None:
    with both_sides() as (ours, _):
        connection = Connection(ours.socket)
        time.sleep(SETTLE)
        idle = rss_mib(ours.pids)
        connection.call("POST", "/services/create", spec(ours, "bench", 100))
        wait_running(connection, "bench", 100)
        time.sleep(SETTLE)
        loaded = rss_mib(ours.pids)
        remove(connection, "bench")
    publish(
        "daemon",
        [
            Figure("daemon.rss_idle_mib", "MiB", [idle], target="<= 105"),
            Figure("daemon.rss_100_tasks_mib", "MiB", [loaded], target="<= 125"),
        ],
    )


if __name__ == "__main__":
    main()
