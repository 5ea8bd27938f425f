"""Service creates a second over the API, on 1 and 8 kept-open connections.

One manager beside dockerd's swarm mode; three managers, asked through the leader and through a follower, which passes them on. The peer's
figures for three managers were taken once on a machine of the same kind: 280/s [245 - 329] through the leader, 236/s [205 - 252]
through a follower, one connection.

make bench-api
"""

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import Connection, Side, both_sides, spec
from bench.report import Figure, publish, publish_part, wait_quiet
from integration.cluster_rig import Cluster, run

REQUESTS = 800
PEER_LEADER, PEER_FOLLOWER = (245, 280, 329), (205, 236, 252)


@contextmanager
def three_managers() -> Iterator[tuple[Side, Side]]:
    """The leader's API, and a follower's."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-bench-"))
    with Cluster("bench", folder, network="10.95.0") as cluster:
        cluster.bring_up(managers=3, workers=0)
        leader = cluster.leader()
        follower = next(daemon for daemon in cluster.daemons.values() if daemon is not leader)
        yield Side("leader", leader.socket, "none", (leader.pid,)), Side("follower", follower.socket, "none", (follower.pid,))
    run(("rm", "-rf", str(folder)))


def rate(side: Side, connections: int, round_: int) -> float:
    """Creates a second; the services are removed again, which is not timed."""
    wait_quiet()
    names: list[list[str]] = [
        [f"s{round_}-{connections}-{one}-{number}" for number in range(REQUESTS // connections)] for one in range(connections)
    ]

    def work(mine: list[str], method: str) -> None:
        connection = Connection(side.socket)
        for name in mine:
            if method == "POST":
                connection.call("POST", "/services/create", spec(side, name, 0))
            else:
                connection.call("DELETE", f"/services/{name}")

    took = 0.0
    for method in ("POST", "DELETE"):
        threads = [threading.Thread(target=work, args=(mine, method)) for mine in names]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = took or time.monotonic() - begun
    return REQUESTS / took


Rates = dict[tuple[int, str], list[float]]


def measure(sides: tuple[Side, Side], rounds: int, rates: Rates) -> None:
    for number in range(rounds):
        for side in sides if number % 2 else sides[::-1]:
            for connections in (1, 8):
                found = rate(side, connections, number)
                print(f"{side.name}, {connections} connections: {found:.0f} /s", flush=True)
                rates[connections, side.name].append(found)


def one(rounds: int) -> list[Figure]:
    rates: Rates = defaultdict(list)
    with both_sides() as sides:
        measure(sides, rounds, rates)
    return [
        Figure("api.create_per_s_1m_1c", "/s", rates[1, "shoal"], rates[1, "docker"], "ratio >= 0.8"),
        Figure("api.create_per_s_1m_8c", "/s", rates[8, "shoal"], rates[8, "docker"], ">= 900; ratio >= 1.0"),
    ]


def three(rounds: int) -> list[Figure]:
    rates: Rates = defaultdict(list)
    with three_managers() as sides:
        measure(sides, rounds, rates)
    return [
        Figure("api.create_per_s_3m_1c", "/s", rates[1, "leader"], PEER_LEADER, ">= 280"),
        Figure("api.create_per_s_3m_8c", "/s", rates[8, "leader"], (), ">= 1,000"),
        Figure("api.create_per_s_3m_1c_follower", "/s", rates[1, "follower"], PEER_FOLLOWER, ">= 280"),
        Figure("api.create_per_s_3m_8c_follower", "/s", rates[8, "follower"], (), ">= 1,000"),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--managers", type=int, choices=(1, 3), help="these alone; the results of the others stay")
    chosen = options.parse_args()
    found: list[Figure] = []
    if chosen.managers != 3:
        found += one(chosen.rounds)
    if chosen.managers != 1:
        found += three(chosen.rounds)
    write = publish_part if chosen.managers else publish
    write("api", found)


if __name__ == "__main__":
    main()
