"""A published port is added to a running service: how long until every one of five nodes answers there.

make bench-plane             three managers, two workers, sixty changes      .venv/bin/python -m bench.plane --changes 20

The clock starts when the update is sent, and stops when a client outside has been answered by the slowest node: the request, agreement
on a quorum, the allocator, the way to each node and the kernel are all in it.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.peers import Connection
from bench.report import Figure, publish, wait_quiet
from integration.cluster_rig import Cluster, Daemon, run
from integration.images import python_archive
from integration.netlab import Host

SERVER = Path(__file__).resolve().parents[1] / "integration" / "polite_server.py"
FIRST_PORT = 9000
PATIENCE = 10.0


def add_port(connection: Connection, service: str, port: int) -> None:
    found: dict[str, Any] = connection.call("GET", f"/services/{service}")
    spec = found["Spec"]
    ports = [{"Protocol": "tcp", "TargetPort": 8000, "PublishedPort": port, "PublishMode": "ingress"}]
    spec["EndpointSpec"] = {"Mode": "vip", "Ports": ports}
    connection.call("POST", f"/services/{service}/update?version={found['Version']['Index']}", spec)


def wait_answered(client: Host, addresses: list[str], port: int) -> None:
    """By every node. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    waiting = list(addresses)
    with client.inside():
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"port {port} is not answered by {', '.join(waiting)}")
            waiting = [address for address in waiting if not _answers(address, port)]


def _answers(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (TimeoutError, OSError, http.client.HTTPException):
        time.sleep(0.001)
        return False
    finally:
        connection.close()


def measure(manager: Daemon, client: Host, addresses: list[str], changes: int) -> list[float]:
    connection = Connection(manager.socket)
    times = []
    for number in range(changes):
        wait_quiet(at_most=2.0, window=0.2, idle=0.7)
        begun = time.monotonic()
        add_port(connection, "web", FIRST_PORT + number)
        wait_answered(client, addresses, FIRST_PORT + number)
        times.append((time.monotonic() - begun) * 1000)
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--changes", type=int, default=60)
    changes = options.parse_args().changes
    folder = Path(tempfile.mkdtemp(prefix="shoal-plane-"))
    with Cluster("benchplane", folder, network="10.91.0") as cluster:
        manager = cluster.bring_up(managers=3, workers=2, archive=python_archive(folder, SERVER), image="server")
        client = cluster.client()
        manager.docker("network", "create", "--driver", "overlay", "front")
        flags = ("--name", "web", "--replicas", "2", "--network", "front", "--detach")
        manager.docker("service", "create", *flags, "server", "/bin/python", "-I", "-S", "/server.py", "8000")
        manager.wait_running("web", 2)
        times = measure(manager, client, [daemon.address for daemon in cluster.daemons.values()], changes)
    run(("rm", "-rf", str(folder)))
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    print(json.dumps([round(value) for value in ordered]), f"mean {statistics.mean(times):.0f} ms")
    publish(
        "plane",
        [
            Figure("plane.propagate_p50_ms", "ms", times, target="<= 150"),
            Figure("plane.propagate_p99_ms", "ms", [p99], target="<= 500"),
        ],
    )


if __name__ == "__main__":
    main()
