"""A companion's end of its control socket: takes the word of whichever daemon is there, one message at a time."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from node_agent.network.companion import Standing, read_frame, write_frame

Answer = Callable[[bytes], Awaitable[bytes | None]]


class ControlSocket:
    """`answer` returns what is said to a message; None for the one that ends the process. Raises ValueError for what is no message."""

    def __init__(self, path: Path, *, protocol: int, answer: Answer) -> None:
        self._path = path
        self._protocol = protocol
        self._answer = answer
        self._turn = asyncio.Lock()
        self.stopped = asyncio.Event()

    async def start(self) -> asyncio.Server:
        """Raises OSError when another one listens at the path already."""
        if self._path.exists():
            if await _answers(self._path):
                raise FileExistsError(17, "another one is running", str(self._path))
            self._path.unlink()
        before = os.umask(0o177)  # keys come this way: nobody else may connect, not for a moment
        try:
            return await asyncio.start_unix_server(self._serve, path=str(self._path))
        finally:
            os.umask(before)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            write_frame(writer, msgspec.msgpack.encode(Standing(protocol=self._protocol, pid=os.getpid())))
            while True:
                content = await read_frame(reader)
                async with self._turn:
                    answer = await self._answer(content)
                if answer is None:
                    self.stopped.set()
                    return
                write_frame(writer, answer)
                await writer.drain()
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
