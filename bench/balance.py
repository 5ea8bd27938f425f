"""Published ports by the process that balances in userspace, beside their tasks themselves and beside HAProxy, in rounds that take turns.

make bench-balance           ten rounds, three minutes                       .venv/bin/python -m bench.balance --rounds 3

Two hosts: a client on one, nginx and iperf3 on the other, in the tasks' place. `here` is the published port of their own host: one process
in between. `relayed` is that of the client's host, so two. HAProxy stands where `here` does. All on the same cores, so the ratios count.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.report import Figure, in_rounds, wait_quiet
from bench.vip import NGINX, TOOLS
from integration.netlab import Host, Lab, end
from node_agent.network.balance.driver import BalanceDriver
from node_agent.network.balance.plan import BalancePlan
from node_agent.network.ingress import Published

WEB, STREAM, PUBLISHED, PUBLISHED_STREAM = 8000, 5201, 8080, 5202
PROXY_WEB, PROXY_STREAM = 9080, 9202
WAYS = ("direct", "here", "relayed", "haproxy")
CONNECTIONS = 16
HAPROXY = """global
 nbthread 1
defaults
 mode tcp
 timeout connect 5s
 timeout client 1m
 timeout server 1m
listen web
 bind {address}:{proxy_web}
 server s {address}:{web}
listen stream
 bind {address}:{proxy_stream}
 option splice-auto
 server s {address}:{stream}
"""


class Field(NamedTuple):
    client: Host
    address: str
    """Where the tasks are."""

    def web(self, way: str) -> str:
        port = {"direct": WEB, "haproxy": PROXY_WEB}.get(way, PUBLISHED)
        return f"{self._host(way)}:{port}"

    def stream(self, way: str) -> tuple[str, int]:
        return self._host(way), {"direct": STREAM, "haproxy": PROXY_STREAM}.get(way, PUBLISHED_STREAM)

    def _host(self, way: str) -> str:
        return "127.0.0.1" if way == "relayed" else self.address


# -- the three measurements --------------------------------------------------------------------------------------------------------------
def gigabits(field: Field, way: str, seconds: int) -> float:
    address, port = field.stream(way)
    for _ in range(50):
        command = field.client.command("iperf3", "-J", "-c", address, "-p", str(port), "-t", str(seconds))
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        if "error" not in found:
            return float(found["end"]["sum_received"]["bits_per_second"]) / 1e9
        time.sleep(0.1)  # its server has not heard yet that the test before has ended
    raise RuntimeError(f"{way}: iperf3: {found['error']}")


def requests(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds)


def connections(field: Field, way: str, seconds: int) -> float:
    return _wrk(field, way, seconds, "-H", "Connection: close")


def _wrk(field: Field, way: str, seconds: int, *flags: str) -> float:
    said = field.client.run("wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", *flags, f"http://{field.web(way)}/")
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{way}: {said}")
    return float(said.partition("Requests/sec:")[2].split()[0])


MEASURED: dict[str, Callable[[Field, str, int], float]] = {
    "stream_gbit_s": gigabits,
    "kept_requests_s": requests,
    "new_connections_s": connections,
}
Found = dict[tuple[str, str], list[float]]


def measure(field: Field, rounds: int, seconds: int) -> Found:
    """(metric, way) -> one value a round; who comes first changes from round to round."""
    found: Found = {(metric, way): [] for metric in MEASURED for way in WAYS}
    for number in range(rounds):
        turn = number % len(WAYS)
        for metric, once in MEASURED.items():
            wait_quiet(at_most=6.0, window=0.2, idle=0.85)
            for way in (*WAYS[turn:], *WAYS[:turn]):
                found[metric, way].append(once(field, way, seconds))
    return found


# -- what they need ----------------------------------------------------------------------------------------------------------------------
async def bench(folder: Path, rounds: int, seconds: int) -> Found:
    with Lab("benchbal") as lab, ExitStack() as stack:
        near, far = (lab.host(f"h{number}", f"10.88.0.{number}/24") for number in (1, 2))
        _servers(stack, far, folder)
        drivers = [BalanceDriver(control=folder / f"{host.name}.sock", namespace=host.namespace) for host in (near, far)]
        for driver, me, other in zip(drivers, (near, far), (far, near), strict=True):
            local, remote = ((), {far.address: 1}) if me is near else ((far.address,), {})
            published = tuple(
                Published(protocol="tcp", port=port, target=target, local=local, remote=remote)
                for port, target in ((PUBLISHED, WEB), (PUBLISHED_STREAM, STREAM))
            )
            await driver.hold(BalancePlan(me=me.address, published=published, relays=(other.address,)), recheck=True)
        try:
            return await asyncio.to_thread(measure, Field(near, far.address), rounds, seconds)
        finally:
            for driver in drivers:
                await driver.stop()


def _servers(stack: ExitStack, host: Host, folder: Path) -> None:
    """nginx, iperf3 and HAProxy; they end with the stack."""
    settings = folder / "haproxy.cfg"
    ports = {"web": WEB, "stream": STREAM, "proxy_web": PROXY_WEB, "proxy_stream": PROXY_STREAM}
    settings.write_text(HAPROXY.format(address=host.address, **ports))
    (folder / "conf").write_text(NGINX.format(folder=folder, port=WEB))
    for command, port in (
        (("nginx", "-p", str(folder), "-c", str(folder / "conf")), WEB),
        (("iperf3", "-s", "-p", str(STREAM)), STREAM),
        (("haproxy", "-db", "-f", str(settings)), PROXY_WEB),
    ):
        process = host.start(*command, log=folder / f"{command[0]}.log")
        stack.callback(end, process)
        deadline = time.monotonic() + 10
        while f":{port} " not in host.run("ss", "-Htln"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen: {(folder / f'{command[0]}.log').read_text()}")
            time.sleep(0.02)


def figures(found: Found) -> list[Figure]:
    """What each costs: the median of the rounds' ratios to direct, and the rates."""
    told = []
    for metric in MEASURED:
        unit = "Gbit/s" if metric == "stream_gbit_s" else "/s"
        direct = found[metric, "direct"]
        for way in WAYS[1:]:
            shares = [rate / beside for rate, beside in zip(found[metric, way], direct, strict=True)]
            told += [Figure(f"{way}.{metric}_of_direct", "x", shares), Figure(f"{way}.{metric}", unit, found[metric, way], direct)]
    return told


def main() -> int:
    return in_rounds("balance", __doc__, TOOLS, bench, figures)


if __name__ == "__main__":
    sys.exit(main())
