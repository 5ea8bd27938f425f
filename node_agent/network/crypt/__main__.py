"""`python -m node_agent.network.crypt`: the encrypted networks of a node, as a process of its own.

A process apart, so that packets do not wait for the daemon's event loop, nor connections for its restart.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from node_agent.network.companion import Stop
from node_agent.network.companion_control import ControlSocket
from node_agent.network.crypt.peering import EPOCH
from node_agent.network.crypt.peers import Peers
from node_agent.network.crypt.plan import PROTOCOL, CryptPlan
from node_agent.network.crypt.tunnel import Tunnel

_decoder = msgspec.msgpack.Decoder(CryptPlan | Stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="shoal-crypt", description="The encrypted networks of a Shoal node; started by shoald.")
    parser.add_argument("--control", type=Path, required=True, help="unix socket that the daemon tells peers and keys over")
    options = parser.parse_args()
    try:
        uvloop.run(serve(options.control))
    except OSError as problem:
        sys.exit(f"shoal-crypt: {problem}")
    options.control.unlink(missing_ok=True)


async def serve(control: Path) -> None:
    """Until told to stop, over the socket or by SIGTERM."""
    async with Tunnel(Peers(draw=lambda: os.urandom(EPOCH))) as tunnel:

        async def answer(content: bytes) -> bytes | None:
            message: CryptPlan | Stop = _decoder.decode(content)
            return None if isinstance(message, Stop) else msgspec.msgpack.encode(tunnel.hold(message))

        listener = ControlSocket(control, protocol=PROTOCOL, answer=answer)
        listening = await listener.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listener.stopped.set)
        try:
            await listener.stopped.wait()
        finally:
            listening.close()


if __name__ == "__main__":
    main()
