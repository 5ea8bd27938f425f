"""The name server's end of its control socket: takes the zone from whichever daemon is there (`feed.py` has the words)."""

import asyncio
import os
from pathlib import Path

import msgspec

from node_agent.network.dns.feed import PROTOCOL, Feed, Standing, Stop, Taken, after, read_message, write_message
from node_agent.network.dns.server import Server
from node_agent.network.dns.zone import Zone


class ControlServer:
    """The name server's side."""

    def __init__(self, server: Server, path: Path) -> None:
        self._server = server
        self._path = path
        self._zone = Zone()
        self._turn = asyncio.Lock()
        self.stopped = asyncio.Event()

    async def start(self) -> asyncio.Server:
        """Raises OSError when another one listens at the path already."""
        if self._path.exists():
            if await _answers(self._path):
                raise FileExistsError(17, "another name server is running", str(self._path))
            self._path.unlink()
        listening = await asyncio.start_unix_server(self._serve, path=str(self._path))
        os.chmod(self._path, 0o600)
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            write_message(writer, Standing(protocol=PROTOCOL, pid=os.getpid()))
            while True:
                message = await read_message(reader)
                match message:
                    case Feed():
                        async with self._turn:
                            self._zone = after(self._zone, message)
                            refused = await self._server.hold(self._zone)
                        write_message(writer, Taken(refused=refused))
                        await writer.drain()
                    case Stop():
                        self.stopped.set()
                        return
                    case _:
                        return
        except (EOFError, ConnectionError, ValueError, msgspec.DecodeError):
            return
        finally:
            writer.close()


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True
