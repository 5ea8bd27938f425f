"""`python -m node_agent.network.dns`: the name server as a process of its own.

A process apart, so that no container can starve the daemon with questions and no restart of the daemon stops names.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from random import SystemRandom

import uvloop

from cluster.aio.clock import SystemClock
from node_agent.network.companion_control import ControlSocket
from node_agent.network.dns.control import ZoneKeeper
from node_agent.network.dns.feed import PROTOCOL
from node_agent.network.dns.forward import Forwarder, HostServers
from node_agent.network.dns.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoal-dns", description="The name server of a Shoal node; started by shoald.")
    parser.add_argument("--control", type=Path, required=True, help="unix socket that the daemon feeds the zone over")
    parser.add_argument("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"), help="where the host's name servers are found")
    options = parser.parse_args()
    try:
        uvloop.run(serve(options.control, options.resolv_conf))
    except OSError as problem:
        sys.exit(f"shoal-dns: {problem}")
    options.control.unlink(missing_ok=True)


async def serve(control: Path, resolv_conf: Path) -> None:
    """Until told to stop, over the socket or by SIGTERM."""
    rng = SystemRandom()
    async with Server(host=HostServers(resolv_conf), forwarder=Forwarder(rng, SystemClock()), rng=rng) as server:
        listener = ControlSocket(control, protocol=PROTOCOL, answer=ZoneKeeper(server).answer)
        listening = await listener.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listener.stopped.set)
        try:
            await listener.stopped.wait()
        finally:
            listening.close()


if __name__ == "__main__":
    main()
