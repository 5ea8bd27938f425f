"""The daemon's end of the name server: finds the one that runs, starts one if none does, and tells it what changed."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

import node_agent
from node_agent.network.dns.feed import PROTOCOL, Feed, Message, Standing, Stop, Taken, read_message, step, write_message
from node_agent.network.dns.zone import Zone
from node_agent.network.netns import enter_command

_START_SECONDS = 10.0
_ANSWER_SECONDS = 5.0


class NameServerGone(Exception):
    """It does not answer; the next feed starts another."""


class NameServer:
    """One at a time may speak: callers serialise."""

    def __init__(self, *, control: Path, namespace: Path | None, resolv_conf: Path) -> None:
        self._control = control
        self._namespace = namespace
        self._resolv_conf = resolv_conf
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._held: Zone | None = None
        self._child = 0
        self._refused: Mapping[str, str] = {}
        self._process = -1
        """A descriptor of the process that answers."""
        self._gone = asyncio.Event()

    async def wait_gone(self) -> None:
        """Until the process that was fed ends; for ever when there is none."""
        await self._gone.wait()
        self._gone.clear()

    async def feed(self, zone: Zone) -> Mapping[str, str]:
        """Returns once it answers from this zone: the gateways it could not listen at, and why. Raises NameServerGone."""
        for attempt in (1, 2):
            try:
                return await self._feed(zone)
            except (EOFError, OSError, TimeoutError, ValueError) as gone:
                await self.close()
                if attempt == 2:
                    raise NameServerGone(f"the name server does not answer: {gone}") from gone
        raise NameServerGone("the name server does not answer")

    async def _feed(self, zone: Zone) -> Mapping[str, str]:
        if self._reader is None or self._reader.at_eof():
            await self.close()
            await self._connect()
        change = step(self._held, zone)
        if self._refused and change is None:
            change = Feed()  # try the refused ones again
        if change is not None:
            answer = await self._exchange(change)
            self._refused = answer.refused if isinstance(answer, Taken) else {}
            self._held = zone
        return self._refused

    async def _exchange(self, message: Feed) -> Message:
        if self._writer is None or self._reader is None:
            raise EOFError("not connected")
        write_message(self._writer, message)
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._writer.drain()
            return await read_message(self._reader)

    async def _connect(self) -> None:
        self._reap()
        try:
            standing = await self._open()
        except (OSError, EOFError):
            standing = await self._start()
        if standing.protocol != PROTOCOL:
            await self.stop()
            standing = await self._start()
        self._held = None
        self._watch(standing.pid)

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
            first = await read_message(self._reader)
        if not isinstance(first, Standing):
            raise EOFError("not a name server")
        return first

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
                        raise OSError(f"the name server ended at once; see {log}") from absent
                    await asyncio.sleep(0.02)

    def _spawn(self) -> str:
        """Returns where its log is."""
        command = (
            *enter_command(self._namespace),
            *(sys.executable, "-P", "-m", "node_agent.network.dns"),
            *("--control", str(self._control), "--resolv-conf", str(self._resolv_conf)),
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
            except (OSError, EOFError, msgspec.DecodeError):
                await self.close()
                return
        if self._writer is not None and self._reader is not None:
            write_message(self._writer, Stop())
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
        """Let go; the process goes on answering."""
        self._unwatch()
        writer, self._reader, self._writer, self._held = self._writer, None, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
