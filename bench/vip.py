"""A service's VIP across two nodes beside its tasks' own addresses and beside HAProxy, in rounds that take turns.

make bench-vip               ten rounds, two minutes and a half              .venv/bin/python -m bench.vip --rounds 3

Two hosts with an engine and a data plane each, an overlay between them: a client on one, the tasks on the other. One stream (iperf3),
requests on kept connections and a connection for each request (wrk to nginx, four tasks). `direct` is asked from a namespace without a rule
of ours, so that connection tracking counts as a cost of ours too. HAProxy runs in the client's own namespace, the nearest place that a
proxy can have. All on the same cores, so the ratios count and not the rates.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.report import Figure, in_rounds, wait_quiet
from cluster.api.endpoint import OverlayNetwork
from integration.netlab import end
from integration.plane_rig import Rig, Task, machines, network, rig

TOOLS = {"wrk": "wrk", "iperf3": "iperf3", "haproxy": "haproxy", "nginx": "nginx-light"}
"""Command -> Debian package."""
TASKS = 4
WEB, STREAM = 8000, 5201
PROXY = "127.0.0.1"
WAYS = ("direct", "vip", "haproxy")
CONNECTIONS = 16

NGINX = """daemon off; master_process off; error_log {folder}/nginx.log; pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
 server {{ listen {port} backlog=4096; location / {{ return 200 "of {folder}"; }} }} }}
"""
HAPROXY = """global
 nbthread 2
defaults
 mode tcp
 timeout connect 5s
 timeout client 1m
 timeout server 1m
listen web
 bind {proxy}:{web}
 balance roundrobin
{servers}
listen stream
 bind {proxy}:{stream}
 server s {streamer}:{stream}
"""
SPREAD = """-- Each thread has an address of its own: without a balancer the client knows all of them.
local number = 0
function setup(thread)
  local those = {{{addresses}}}
  thread.addr = wrk.lookup(those[number % #those + 1], "{port}")[1]
  number = number + 1
end
"""


class Tasks(NamedTuple):
    client: Task
    bare: Task
    """A client without rules."""
    web: list[Task]
    stream: Task
    network: OverlayNetwork


class Field(NamedTuple):
    """Everything is up: where each way leads to."""

    clients: dict[str, Task]
    web: dict[str, str]
    stream: dict[str, str]
    script: Path

    def run(self, way: str, *command: str) -> str:
        inside = ("nsenter", f"--net=/proc/{self.clients[way].container.pid}/ns/net")
        done = subprocess.run((*inside, *command), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


# -- the three measurements --------------------------------------------------------------------------------------------------------------
def gigabits(field: Field, way: str, seconds: int) -> float:
    command = ("iperf3", "-J", "-c", field.stream[way], "-p", str(STREAM), "-t", str(seconds))
    found = json.loads(field.run(way, *command))
    for _ in range(50):
        if "busy" not in found.get("error", ""):
            break
        time.sleep(0.1)  # its server has not heard yet that the test before has ended
        found = json.loads(field.run(way, *command))
    if "error" in found:
        raise RuntimeError(f"{way}: iperf3: {found['error']}")
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e9


def requests(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds)


def connections(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds, "-H", "Connection: close")


def _wrk(field: Field, way: str, seconds: int, *flags: str) -> float:
    spread = ("-s", str(field.script)) if way == "direct" else ()
    command = ("wrk", f"-t{TASKS}", f"-c{CONNECTIONS}", f"-d{seconds}s", *spread, *flags)
    said = field.run(way, *command, f"http://{field.web[way]}:{WEB}/")
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{way}: {said}")
    return float(said.partition("Requests/sec:")[2].split()[0])


MEASURED: dict[str, Callable[[Field, str, int], float]] = {
    "stream_gbit_s": gigabits,
    "kept_requests_s": requests,
    "new_connections_s": connections,
}


def measure(field: Field, rounds: int, seconds: int) -> dict[tuple[str, str], list[float]]:
    """(metric, way) -> one value a round; who comes first changes from round to round."""
    found: dict[tuple[str, str], list[float]] = {(metric, way): [] for metric in MEASURED for way in WAYS}
    for number in range(rounds):
        turn = number % len(WAYS)
        for metric, once in MEASURED.items():
            wait_quiet(at_most=6.0, window=0.2, idle=0.85)
            for way in (*WAYS[turn:], *WAYS[:turn]):
                found[metric, way].append(once(field, way, seconds))
    return found


# -- what they need ----------------------------------------------------------------------------------------------------------------------
async def bench(folder: Path, rounds: int, seconds: int) -> dict[tuple[str, str], list[float]]:
    with machines("benchvip", folder, hosts=2) as there:
        async with rig(there, folder) as cluster:
            one, two = cluster.nodes
            net = network(1)
            for name in ("client", "web", "stream"):
                cluster.service(name, net)
            tasks = Tasks(
                client=await cluster.run("client", one, serve=False),
                bare=await cluster.run("client", one, serve=False),
                web=[await cluster.run("web", two, serve=False) for _ in range(TASKS)],
                stream=await cluster.run("stream", two, serve=False),
                network=net,
            )
            with processes(folder, tasks):
                field = _field(cluster, tasks, folder)
                field.run("direct", "nft", "flush", "ruleset")
                return await asyncio.to_thread(measure, field, rounds, seconds)


def _field(cluster: Rig, tasks: Tasks, folder: Path) -> Field:
    addresses = [task.address(tasks.network) for task in tasks.web]
    script = folder / "spread.lua"
    script.write_text(SPREAD.format(addresses=", ".join(f'"{address}"' for address in addresses), port=WEB))
    return Field(
        clients={"direct": tasks.bare, "vip": tasks.client, "haproxy": tasks.client},
        web={"direct": addresses[0], "vip": cluster.vip("web"), "haproxy": PROXY},
        stream={"direct": tasks.stream.address(tasks.network), "vip": cluster.vip("stream"), "haproxy": PROXY},
        script=script,
    )


@contextmanager
def processes(folder: Path, tasks: Tasks) -> Iterator[None]:
    """nginx and iperf3 in the tasks' namespaces, HAProxy in the client's."""
    with ExitStack() as stack:
        for number, task in enumerate(tasks.web):
            home = folder / f"nginx{number}"
            home.mkdir()
            (home / "conf").write_text(NGINX.format(folder=home, port=WEB))
            start_in(stack, task, WEB, "nginx", "-p", str(home), "-c", str(home / "conf"))
        start_in(stack, tasks.stream, STREAM, "iperf3", "-s", "-p", str(STREAM))
        servers = "\n".join(f" server t{number} {task.address(tasks.network)}:{WEB}" for number, task in enumerate(tasks.web))
        streamer = tasks.stream.address(tasks.network)
        settings = folder / "haproxy.cfg"
        settings.write_text(HAPROXY.format(proxy=PROXY, web=WEB, stream=STREAM, servers=servers, streamer=streamer))
        start_in(stack, tasks.client, WEB, "haproxy", "-db", "-f", str(settings))
        yield


def start_in(stack: ExitStack, task: Task, port: int, *command: str) -> None:
    """A server in a task's namespace, once it listens; ends with the stack."""
    inside = ("nsenter", f"--net=/proc/{task.container.pid}/ns/net")
    process = subprocess.Popen((*inside, *command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(end, process)
    deadline = time.monotonic() + 10
    while not _listens(task, port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{command[0]} does not listen at port {port}: ended with {process.poll()}")
        time.sleep(0.02)


def _listens(task: Task, port: int) -> bool:
    with task.inside(), socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def figures(found: dict[tuple[str, str], list[float]]) -> list[Figure]:
    """What each costs: the median of the rounds' ratios to direct, which what else the machine does moves least; and the rates."""
    told = []
    for metric, target in (("stream_gbit_s", "0.90"), ("kept_requests_s", "0.90"), ("new_connections_s", "0.85")):
        unit = "Gbit/s" if metric == "stream_gbit_s" else "/s"
        direct = found[metric, "direct"]
        for way, wanted in (("vip", f">= {target}"), ("haproxy", "")):
            shares = [rate / beside for rate, beside in zip(found[metric, way], direct, strict=True)]
            told += (
                Figure(f"{way}.{metric}_of_direct", "x", shares, target=wanted),
                Figure(f"{way}.{metric}", unit, found[metric, way], direct),
            )
    return told


def main() -> int:
    return in_rounds("vip", __doc__, TOOLS, bench, figures)


if __name__ == "__main__":
    sys.exit(main())
