"""create -> N running, and kill -> replacement, on one engine each: ours against dockerd's swarm mode, rounds interleaved.

make bench-converge          five rounds      .venv/bin/python -m bench.converge --rounds 3
"""

import argparse
import os
import signal
import time
from collections import defaultdict

from bench.peers import Connection, Side, both_sides, remove, running, spec, wait_running
from bench.report import Figure, publish, wait_quiet

SIZES = (1, 10, 50)
TARGETS = {1: "ratio <= 1.0", 10: "ratio <= 1.0", 50: "ratio <= 1.05"}


def converge(side: Side, count: int) -> float:
    connection = Connection(side.socket)
    wait_quiet()
    begun = time.monotonic()
    connection.call("POST", "/services/create", spec(side, "bench", count))
    wait_running(connection, "bench", count)
    took = time.monotonic() - begun
    remove(connection, "bench")
    return took


def replace_killed(side: Side) -> float:
    """SIGKILL of a task's process until its replacement runs, restart delay 0."""
    connection = Connection(side.socket)
    connection.call("POST", "/services/create", spec(side, "bench", 1))
    wait_running(connection, "bench", 1)
    (task,) = running(connection, "bench")
    wait_quiet()
    begun = time.monotonic()
    os.kill(int(task["Status"]["ContainerStatus"]["PID"]), signal.SIGKILL)
    while not [fresh for fresh in running(connection, "bench") if fresh["ID"] != task["ID"]]:
        time.sleep(0.01)
    took = time.monotonic() - begun
    remove(connection, "bench")
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    with both_sides() as sides:
        for side in sides:
            converge(side, 1)  # the first container of an engine is slower than all others
        for number in range(rounds):
            for side in sides if number % 2 else sides[::-1]:
                for count in SIZES:
                    times[f"converge.n{count}_ratio", side.name].append(converge(side, count))
                times["failover.task_kill_ratio", side.name].append(replace_killed(side))
    figures = [
        Figure(
            f"converge.n{count}_ratio",
            "s",
            times[f"converge.n{count}_ratio", "shoal"],
            times[f"converge.n{count}_ratio", "docker"],
            TARGETS[count],
        )
        for count in SIZES
    ]
    kill = "failover.task_kill_ratio"
    publish("converge", [*figures, Figure(kill, "s", times[kill, "shoal"], times[kill, "docker"], "ratio <= 1.0")])


if __name__ == "__main__":
    main()
