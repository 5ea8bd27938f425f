"""An encrypted overlay beside a plain one, between the same two nodes, in rounds that take turns.

make bench-crypt             ten rounds, a minute and a half                 .venv/bin/python -m bench.crypt --rounds 3

Two hosts with an engine and a data plane each: one stream (iperf3), requests on sixteen kept connections and on one (wrk to nginx).
Client, server and both sealing processes share the cores of this machine, and the plain overlay's way between the hosts is a copy in one
kernel, so the ratios are worse than on a wire: what a core gives is the figure to plan with.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.dns import processor_seconds
from bench.report import Figure, in_rounds, wait_quiet
from bench.vip import NGINX, STREAM, WEB, start_in
from integration.plane_rig import Rig, Task, eventually, machines, network, rig

TOOLS = {"wrk": "wrk", "iperf3": "iperf3", "nginx": "nginx-light"}
"""Command -> Debian package."""
WAYS = ("plain", "encrypted")


class Field(NamedTuple):
    """What is up."""

    clients: dict[str, Task]
    servers: dict[str, str]
    """The way -> the server's address."""
    sealers: tuple[int, int]
    """The processes that seal: the client's node's, the server's node's."""

    def run(self, way: str, *command: str) -> str:
        inside = ("nsenter", f"--net=/proc/{self.clients[way].container.pid}/ns/net")
        done = subprocess.run((*inside, *command), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def gigabits(field: Field, way: str, seconds: int) -> float:
    found = json.loads(field.run(way, "iperf3", "-J", "-c", field.servers[way], "-p", str(STREAM), "-t", str(seconds)))
    if "error" in found:
        raise RuntimeError(f"{way}: iperf3: {found['error']}")
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e9


def _wrk(field: Field, way: str, seconds: int, connections: int) -> float:
    command = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://{field.servers[way]}:{WEB}/")
    said = field.run(way, *command)
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{way}: {said}")
    return float(said.partition("Requests/sec:")[2].split()[0])


def requests(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds, 16)


def one_by_one(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds, 1)


MEASURED: dict[str, Callable[[Field, str, int], float]] = {
    "stream_gbit_s": gigabits,
    "kept_requests_s": requests,
    "one_by_one_requests_s": one_by_one,
}


def measure(field: Field, rounds: int, seconds: int) -> dict[tuple[str, str], list[float]]:
    """(metric, way) -> one value a round; and what a core of each end seals or opens in a second."""
    found: dict[tuple[str, str], list[float]] = {(metric, way): [] for metric in MEASURED for way in WAYS}
    found["core", "sealed"], found["core", "opened"] = [], []
    for number in range(rounds):
        for metric, once in MEASURED.items():
            wait_quiet(at_most=6.0, window=0.2, idle=0.85)
            for way in WAYS if number % 2 else reversed(WAYS):
                before = [processor_seconds(pid) for pid in field.sealers]
                rate = once(field, way, seconds)
                found[metric, way].append(rate)
                if (metric, way) == ("stream_gbit_s", "encrypted"):
                    used = [processor_seconds(pid) - start for pid, start in zip(field.sealers, before, strict=True)]
                    found["core", "sealed"].append(rate * seconds / used[0])
                    found["core", "opened"].append(rate * seconds / used[1])
    return found


async def bench(folder: Path, rounds: int, seconds: int) -> dict[tuple[str, str], list[float]]:
    with machines("benchcrypt", folder, hosts=2) as there:
        async with rig(there, folder) as cluster:
            one, two = cluster.nodes
            clients, servers, addresses = {}, [], {}
            for way, net in zip(WAYS, (network(1), network(2, encrypted=True)), strict=True):
                for name in (f"{way}client", f"{way}server"):
                    cluster.service(name, net)
                clients[way] = await cluster.run(f"{way}client", one, serve=False)
                servers.append(await cluster.run(f"{way}server", two, serve=False))
                addresses[way] = servers[-1].address(net)
            await eventually(lambda: _met(cluster))
            with ExitStack() as stack:
                for number, task in enumerate(servers):
                    home = folder / f"nginx{number}"
                    home.mkdir()
                    (home / "conf").write_text(NGINX.format(folder=home, port=WEB))
                    start_in(stack, task, WEB, "nginx", "-p", str(home), "-c", str(home / "conf"))
                    start_in(stack, task, STREAM, "iperf3", "-s", "-p", str(STREAM))
                field = Field(clients=clients, servers=addresses, sealers=(one.sealer(), two.sealer()))
                return await asyncio.to_thread(measure, field, rounds, seconds)


async def _met(cluster: Rig) -> bool:
    for node in cluster.nodes:
        await node.plane.repair()
    return not any(node.plane.encryption.silent for node in cluster.nodes)


def figures(found: dict[tuple[str, str], list[float]]) -> list[Figure]:
    told = []
    for metric in MEASURED:
        unit = "Gbit/s" if metric == "stream_gbit_s" else "/s"
        ours, plain = found[metric, "encrypted"], found[metric, "plain"]
        told += (
            Figure(f"crypt.{metric}_of_plain", "x", [mine / beside for mine, beside in zip(ours, plain, strict=True)]),
            Figure(f"crypt.{metric}", unit, ours, plain),
        )
    told += (Figure(f"crypt.{what}_gbit_per_core_second", "Gbit", found["core", what]) for what in ("sealed", "opened"))
    return told


def main() -> int:
    return in_rounds("crypt", __doc__, TOOLS, bench, figures)


if __name__ == "__main__":
    sys.exit(main())
