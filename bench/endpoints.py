"""A thousand services on one network, and one of them changes: the processor time that this costs a node.

make bench-endpoints         with 1 and with 11 tasks on the network         .venv/bin/python -m bench.endpoints --changes 50

What is measured is a real data plane's: from the update that the managers send to the acknowledgement, the kernel's part and the name
server's included. A backend of one service goes at each change. Two counts of local tasks give the part of the node and of each sandbox.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from bench.report import Figure, publish, wait_quiet
from cluster.api.endpoint import Backend, EndpointUpdate, OverlayNetwork, ServiceEndpoint, ServiceNetwork
from integration.plane_rig import Rig, machines, network, rig

SERVICES = 1000
BACKENDS = 5
FEW, MANY = 1, 11
BLOCK = 10
"""Changes whose processor time is taken together: the name server's is counted in hundredths of a second."""


def wide() -> OverlayNetwork:
    """Room for all of them."""
    return msgspec.structs.replace(network(1), subnet="10.64.0.0/16", gateway="10.64.0.1")


def services(net: OverlayNetwork) -> list[ServiceEndpoint]:
    """Each with its VIP and its tasks, all on another node that has not joined."""
    found = []
    for number in range(SERVICES):
        backends = tuple(
            Backend(
                task_id=f"far{number}x{place}".ljust(25, "0"),
                node_id="elsewhere",
                ready=True,
                addresses={net.network_id: f"10.64.{128 + number // 50}.{number % 50 * 5 + place + 1}"},
                container_name=f"s{number}.{place}",
            )
            for place in range(BACKENDS)
        )
        there = ServiceNetwork(network_id=net.network_id, vip=f"10.64.{64 + number // 250}.{number % 250 + 1}")
        found.append(ServiceEndpoint(service_id=f"s{number}".ljust(25, "0"), name=f"s{number}", networks=(there,), backends=backends))
    return found


async def measure(cluster: Rig, changes: int) -> list[float]:
    """Milliseconds of processor time a change, one value a block."""
    (node,) = cluster.nodes
    server, rates = node.name_server(), []
    targets = [service for service in cluster.services.values() if service.name.startswith("s")]
    for block in range(max(1, changes // BLOCK)):
        wait_quiet(at_most=2.0, window=0.2, idle=0.7)
        before = time.process_time() + _seconds(server)
        for number in range(BLOCK):
            target = targets[(block * BLOCK + number) * 7 % len(targets)]
            changed = msgspec.structs.replace(target, backends=target.backends[1:])
            cluster.version += 1
            told = await node.plane.update(EndpointUpdate(version=cluster.version, services=(changed,)))
            if told != cluster.version:
                raise RuntimeError("the change is not in force")
        rates.append((time.process_time() + _seconds(server) - before) * 1000 / BLOCK)
        await cluster.tell()
    return rates


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def bench(folder: Path, changes: int) -> tuple[list[float], list[float]]:
    with machines("benchends", folder, hosts=1) as there:
        async with rig(there, folder) as cluster:
            (node,) = cluster.nodes
            net = wide()
            cluster.service("client", net)
            for service in services(net):
                cluster.services[service.name] = service
            for _ in range(FEW):
                await cluster.run("client", node, serve=False)
            few = await measure(cluster, changes)
            for _ in range(MANY - FEW):
                await cluster.run("client", node, serve=False)
            return few, await measure(cluster, changes)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--changes", type=int, default=200)
    folder = Path(tempfile.mkdtemp(prefix="shoal-endpoints-"))
    try:
        few, many = asyncio.run(bench(folder, options.parse_args().changes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    each = (statistics.median(many) - statistics.median(few)) / (MANY - FEW)
    publish(
        "endpoints",
        [
            Figure(f"endpoints.change_ms_{FEW}_sandbox", "ms", few),
            Figure(f"endpoints.change_ms_{MANY}_sandboxes", "ms", many),
            Figure("endpoints.node_ms", "ms", [statistics.median(few) - FEW * each], target="<= 2"),
            Figure("endpoints.each_sandbox_ms", "ms", [each], target="<= 1"),
        ],
    )


if __name__ == "__main__":
    main()
