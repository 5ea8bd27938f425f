"""A companion: a process beside the daemon that does what must neither wait for the daemon nor end with it (names, sealed tunnels).

The daemon finds the one that runs, starts one if none does, and tells it what changed: length-prefixed MessagePack over a unix socket
that only root may open. A companion keeps what it was told last when the daemon goes away, and takes the next daemon's word.
"""

import asyncio
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

import node_agent
from node_agent.network.netns import enter_command

_START_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_LARGEST = 64 * 1024 * 1024


class Standing(msgspec.Struct, frozen=True, kw_only=True, tag="standing"):
    """What a companion says first."""

    protocol: int
    pid: int


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """End the process: the node leaves the cluster, or a newer version takes over."""


_standing = msgspec.msgpack.Decoder(Standing)
_STOP = msgspec.msgpack.encode(Stop())


def write_frame(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(struct.pack("!I", len(content)) + content)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Raises EOFError when the other side is gone, ValueError for what is not a frame."""
    try:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        if length > _LARGEST:
            raise ValueError(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as gone:
        raise EOFError(str(gone)) from gone


class Companion:
    """The daemon's end. One at a time may speak: callers serialise."""

    def __init__(self, *, name: str, module: str, protocol: int, control: Path, namespace: Path | None, arguments: tuple[str, ...] = ()):
        """`module` is run with `--control` and the arguments; `name` is what errors call it."""
        self._name = name
        self._module = module
        self._protocol = protocol
        self._control = control
        self._namespace = namespace
        self._arguments = arguments
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._child = 0
        self._process = -1
        """A descriptor of the process that answers."""
        self._gone = asyncio.Event()

    async def wait_gone(self) -> None:
        """Until the process that was spoken to ends; for ever when there is none."""
        await self._gone.wait()
        self._gone.clear()

    async def connect(self) -> bool:
        """Reach it, start it if none runs. True when it has to be told everything: nothing was said on this connection yet."""
        if self._reader is not None and not self._reader.at_eof():
            return False
        await self.close()
        self._reap()
        try:
            standing = await self._open()
        except (OSError, EOFError):
            standing = await self._start()
        if standing.protocol != self._protocol:
            await self.stop()
            standing = await self._start()
        self._watch(standing.pid)
        return True

    async def exchange(self, content: bytes) -> bytes:
        """Say this, return what is answered. Raises EOFError, OSError, TimeoutError, ValueError."""
        if self._writer is None or self._reader is None:
            raise EOFError("not connected")
        write_frame(self._writer, content)
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._writer.drain()
            return await read_frame(self._reader)

    def _watch(self, pid: int) -> None:
        self._unwatch()
        with suppress(OSError):
            self._process = os.pidfd_open(pid)
            asyncio.get_running_loop().add_reader(self._process, self._ended)

    def _ended(self) -> None:
        self._unwatch()
        self._gone.set()

    def _unwatch(self) -> None:
        if self._process >= 0:
            asyncio.get_running_loop().remove_reader(self._process)
            os.close(self._process)
            self._process = -1

    async def _open(self) -> Standing:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self._control))
        async with asyncio.timeout(_ANSWER_SECONDS):
            first = await read_frame(self._reader)
        try:
            return _standing.decode(first)
        except msgspec.DecodeError as wrong:
            raise EOFError(f"not {self._name}") from wrong

    async def _start(self) -> Standing:
        """In a session of its own: it stays when the daemon goes."""
        self._control.parent.mkdir(parents=True, exist_ok=True)
        log = self._spawn()
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    return await self._open()
                except (OSError, EOFError) as absent:
                    if self._reap():
                        raise OSError(f"{self._name} ended at once; see {log}") from absent
                    await asyncio.sleep(0.02)

    def _spawn(self) -> str:
        """Returns where its log is."""
        command = (
            *enter_command(self._namespace),
            *(sys.executable, "-P", "-m", self._module),
            *("--control", str(self._control), *self._arguments),
        )
        log = str(self._control.with_suffix(".log"))
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(node_agent.__file__).parent.parent)}
        self._child = os.posix_spawnp(command[0], command, environment, file_actions=streams, setsid=True)
        return log

    def _reap(self) -> bool:
        """True when the process that we started has ended."""
        if self._child:
            with suppress(ChildProcessError):
                if os.waitpid(self._child, os.WNOHANG)[0] == 0:
                    return False
            self._child = 0
            return True
        return False

    async def stop(self) -> None:
        """End the process; fine when there is none."""
        if self._writer is None:
            try:
                await self._open()
            except (OSError, EOFError):
                await self.close()
                return
        if self._writer is not None and self._reader is not None:
            write_frame(self._writer, _STOP)
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._reader.read()
        await self.close()
        await self._wait_gone()

    async def _wait_gone(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                while self._control.exists() or (self._child and not self._reap()):  # noqa: ASYNC110 - another process's end
                    await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Let go; the process goes on."""
        self._unwatch()
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
