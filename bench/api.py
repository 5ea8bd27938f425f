"""Service creates a second over the API, one manager, 1 and 8 kept-open connections: ours against dockerd's swarm mode.

make bench-api
"""

import argparse
import threading
import time
from collections import defaultdict

from bench.peers import Connection, Side, both_sides, spec
from bench.report import Figure, publish, wait_quiet

REQUESTS = 800


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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    rounds = options.parse_args().rounds
    rates: dict[tuple[int, str], list[float]] = defaultdict(list)
    with both_sides() as sides:
        for number in range(rounds):
            for side in sides if number % 2 else sides[::-1]:
                for connections in (1, 8):
                    rates[connections, side.name].append(rate(side, connections, number))
    publish(
        "api",
        [
            Figure("api.create_per_s_1m_1c", "/s", rates[1, "shoal"], rates[1, "docker"], "ratio >= 0.8"),
            Figure("api.create_per_s_1m_8c", "/s", rates[8, "shoal"], rates[8, "docker"], ">= 900; ratio >= 1.0"),
        ],
    )


if __name__ == "__main__":
    main()
