"""`python -m node_agent.network.balance`: the published ports of a node whose kernel may not be programmed, as a process of its own.

A process apart, so that traffic does not wait for the daemon's event loop, nor end with the daemon.
"""

import argparse
import asyncio
import resource
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from node_agent import machine
from node_agent.network.balance.balancer import Balancer
from node_agent.network.balance.plan import PROTOCOL, BalancePlan
from node_agent.network.companion import Stop
from node_agent.network.companion_control import ControlSocket

_MOST = 16384
_DESCRIPTORS = 6
"""Of one connection: two sockets, and a pipe each way once much is said."""

_decoder = msgspec.msgpack.Decoder(BalancePlan | Stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoal-balance", description="The published ports of a Shoal node; started by shoald.")
    parser.add_argument("--control", type=Path, required=True, help="unix socket that the daemon tells ports and tasks over")
    options = parser.parse_args()
    try:
        uvloop.run(serve(options.control, most=_room()))
    except OSError as problem:
        sys.exit(f"shoal-balance: {problem}")
    options.control.unlink(missing_ok=True)


def _room() -> int:
    """How many connections there are descriptors for, a quarter left for all else."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, min(_MOST, hard * 3 // 4 // _DESCRIPTORS))


async def serve(control: Path, *, most: int) -> None:
    """Until told to stop, over the socket or by SIGTERM."""
    balancer = Balancer(SystemClock(), machine.rng(), most=most)

    async def answer(content: bytes) -> bytes | None:
        message: BalancePlan | Stop = _decoder.decode(content)
        return None if isinstance(message, Stop) else msgspec.msgpack.encode(balancer.hold(message))

    listener = ControlSocket(control, protocol=PROTOCOL, answer=answer)
    listening = await listener.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listener.stopped.set)
    try:
        async with background(balancer.run):
            await listener.stopped.wait()
    finally:
        listening.close()


if __name__ == "__main__":
    main()
