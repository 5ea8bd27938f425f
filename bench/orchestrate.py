"""What an orchestrator does all day, on one engine each: ours against dockerd's swarm mode, rounds interleaved.

A rolling update of 20 tasks one at a time, a killed task's replacement, a scale from 10 to 100. No connection is open, so nothing drains.

make bench-orchestrate       three rounds     .venv/bin/python -m bench.orchestrate --rounds 1 --scale 40
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from bench.converge import replace_killed
from bench.peers import Connection, Side, remove, running, spec, wait_running
from bench.peers import both_sides as sides_with_engines
from bench.report import Figure, publish, wait_quiet

UPDATED = 20
PATIENCE = 300.0


def rolling_update(side: Side) -> float:
    """`service update` of all tasks, parallelism 1, no delay, until every one runs the new template and the update says completed."""
    connection = Connection(side.socket)
    wish: Any = spec(side, "bench", UPDATED)
    wish["UpdateConfig"] = {"Parallelism": 1, "Delay": 0, "Monitor": 1, "Order": "stop-first"}
    connection.call("POST", "/services/create", wish)
    wait_running(connection, "bench", UPDATED)
    service = connection.call("GET", "/services/bench")
    wish["TaskTemplate"]["ContainerSpec"]["Env"] = ["VERSION=2"]
    wait_quiet()
    begun = time.monotonic()
    connection.call("POST", f"/services/{service['ID']}/update?version={service['Version']['Index']}", wish)
    _wait(lambda: _is_updated(connection), "the update to complete")
    took = time.monotonic() - begun
    remove(connection, "bench")
    return took


def _is_updated(connection: Connection) -> bool:
    if (connection.call("GET", "/services/bench").get("UpdateStatus") or {}).get("State") != "completed":
        return False
    new = [task for task in running(connection, "bench") if task["Spec"]["ContainerSpec"].get("Env") == ["VERSION=2"]]
    return len(new) == UPDATED


def scale(side: Side, count: int) -> float:
    """From 10 tasks to `count`, until all run."""
    connection = Connection(side.socket)
    connection.call("POST", "/services/create", spec(side, "bench", 10))
    wait_running(connection, "bench", 10)
    service = connection.call("GET", "/services/bench")
    wait_quiet()
    begun = time.monotonic()
    connection.call("POST", f"/services/{service['ID']}/update?version={service['Version']['Index']}", spec(side, "bench", count))
    _wait(lambda: len(running(connection, "bench")) == count, f"{count} tasks to run")
    took = time.monotonic() - begun
    remove(connection, "bench")
    return took


def _wait(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.05)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scale", type=int, default=100, help="how many tasks to scale to")
    chosen = options.parse_args()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    with sides_with_engines() as sides:
        for number in range(chosen.rounds):
            for side in sides if number % 2 else sides[::-1]:
                times["update", side.name].append(rolling_update(side))
                times["kill", side.name].append(replace_killed(side))
                times["scale", side.name].append(scale(side, chosen.scale))
    publish(
        "orchestrate",
        [
            Figure("orchestrate.update20_ratio", "s", times["update", "shoal"], times["update", "docker"], "ratio <= 0.5"),
            Figure("orchestrate.kill_ratio", "s", times["kill", "shoal"], times["kill", "docker"], "ratio <= 1.0"),
            Figure(f"orchestrate.scale{chosen.scale}_ratio", "s", times["scale", "shoal"], times["scale", "docker"], "ratio <= 1.0"),
        ],
    )


if __name__ == "__main__":
    main()
