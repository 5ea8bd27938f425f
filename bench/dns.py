"""Own names answered by one name server process: how many a second, and how much processor time each takes.

make bench-dns               a zone of a thousand services, five rounds      .venv/bin/python -m bench.dns --rounds 3

The asker is a Python process on the same two cores, so the rate is what both manage together; answers per processor second of the name
server alone is what one core gives.
"""

import argparse
import asyncio
import os
import socket
import struct
import tempfile
import time
from pathlib import Path

from bench.report import Figure, publish, wait_quiet
from integration.netlab import Host, Lab
from node_agent.network.dns.client import NameServer
from node_agent.network.dns.zone import Caller, Name, Names, NetworkZone, Zone

GATEWAY = "10.97.0.1"
SERVICES = 1000
AT_ONCE = 64
QUESTIONS = 40_000


def zone() -> Zone:
    names = {f"service-{number}": Name(vips=(f"10.50.{number // 250}.{number % 250 + 2}",)) for number in range(SERVICES)}
    network = NetworkZone(network_id="net1", name="front", subnet="10.97.0.0/16", gateway=GATEWAY, services={"all": Names(names=names)})
    return Zone(networks={"net1": network}, callers=(Caller(addresses=(GATEWAY,), networks=("net1",)),))


def question(number: int) -> bytes:
    name = b"".join(bytes([len(label)]) + label for label in (f"service-{number % SERVICES}".encode(),))
    return struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack("!2H", 1, 1)


def ask(host: Host) -> float:
    """Seconds for all questions, so many at a time under way. Raises TimeoutError when one is not answered."""
    with host.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.bind((GATEWAY, 0))
        client.connect((GATEWAY, 53))
        client.settimeout(5)
        questions = [question(number) for number in range(SERVICES)]
        begun = time.monotonic()
        for number in range(AT_ONCE):
            client.send(questions[number])
        for number in range(AT_ONCE, QUESTIONS + AT_ONCE):
            answer = client.recv(512)
            if answer[3] & 0x0F or not answer[7]:
                raise RuntimeError(f"not answered: {answer!r}")
            if number < QUESTIONS:
                client.send(questions[number % SERVICES])
        return time.monotonic() - begun


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(rounds: int, folder: Path) -> tuple[list[float], list[float]]:
    rates, by_core = [], []
    with Lab("benchdns") as lab:
        host = lab.host("one", f"{GATEWAY}/16")
        control = folder / "dns.sock"
        server = NameServer(control=control, namespace=host.namespace, resolv_conf=folder / "resolv.conf")
        try:
            refused = await server.feed(zone())
            if refused:
                raise RuntimeError(str(refused))
            pid = _process_of(control)
            for _ in range(rounds):
                wait_quiet()
                before = processor_seconds(pid)
                took = await asyncio.to_thread(ask, host)
                rates.append(QUESTIONS / took)
                by_core.append(QUESTIONS / (processor_seconds(pid) - before))
        finally:
            await server.stop()
    return rates, by_core


def _process_of(control: Path) -> int:
    mark = os.fsencode(control)
    found = [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/cmdline") if mark in entry.read_bytes()]
    return found[0]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="shoal-bench-dns-") as folder:
        Path(folder, "resolv.conf").write_text("")
        rates, by_core = asyncio.run(measure(rounds, Path(folder)))
    publish(
        "dns",
        [
            Figure("dns.answers_per_s", "/s", rates, target=">= 20000"),
            Figure("dns.answers_per_core_second", "/s", by_core, target=">= 20000"),
        ],
    )


if __name__ == "__main__":
    main()
