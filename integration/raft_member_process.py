"""One member as a process of its own: the real driver, LMDB with real syncs, streams over gRPC with mutual TLS or over a unix socket.

    python -m integration.raft_member_process MEMBER.json

It is told what to do in lines of JSON on its standard input, and answers each with one line; see `raft_rig`.
"""

import asyncio
import json
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop

from cluster.aio.supervise import background
from cluster.api.contracts import Caller, Frame, RaftPeer, Taken
from cluster.rpc import tls
from cluster.rpc.identity import Identity
from cluster.rpc.pool import Remotes
from cluster.rpc.server import RpcServer
from manager.raft.config import RaftConfig
from manager.raft.core.membership import Member, MemberId
from manager.raft.driver import Raft, bootstrap
from manager.raft.errors import NotLeader, ProposalLost, TooBusy
from manager.raft.opening import open_storage
from manager.raft.transport import Dial, PeerStreams
from node_agent.manager_link import raft_dial

Receive = Callable[[MemberId, bytes], None]
_LENGTH = struct.Struct(">I")


class MemberFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a member process is started with."""

    id: str
    address: str
    folder: str
    link: str
    founders: list[str]  # addresses by place: the member N is called mN; none for one that joins
    key: str
    cluster: str = "lab"
    snapshot_entries: int = 10_000
    identity: Identity | None = None


class Table:
    """Keys and values: an entry is an 8-byte key and its value. The digest covers every entry ever applied, in order."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.count = 0
        self.digest = b""

    def apply(self, index: int, payload: bytes) -> object:
        self.values[payload[:8]] = payload[8:]
        self.count += 1
        self.digest = blake2b(self.digest + payload, digest_size=16).digest()
        return index

    def capture(self) -> "TableCapture":
        return TableCapture(self)

    def restoration(self) -> "TableRestoration":
        return TableRestoration(self)


class TableRestoration:
    """What has been read of a capture."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._read = Table()

    def feed(self, chunk: bytes) -> None:
        count, digest, rows = msgspec.msgpack.decode(chunk, type=tuple[int, bytes, list[tuple[bytes, bytes]]])
        self._read.count, self._read.digest = count, digest
        self._read.values.update(rows)

    def finish(self) -> None:
        read = self._read
        self._table.values, self._table.count, self._table.digest = read.values, read.count, read.digest


class TableCapture:
    """A copy; a real state machine has persistent maps."""

    def __init__(self, table: Table) -> None:
        self._head = (table.count, table.digest)
        self._rows = list(table.values.items())

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, max(len(self._rows), 1), 1000):
            yield msgspec.msgpack.encode((*self._head, self._rows[start : start + 1000]))


# Links


@asynccontextmanager
async def unix_link(me: MemberId, address: str, receive: Receive, lost: Callable[[MemberId], None]) -> AsyncIterator[None]:
    """Length-prefixed frames over a unix socket; the first one is the sender's name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = MemberId("")
        try:
            sender = MemberId((await _read_frame(reader)).decode())
            while True:
                receive(sender, await _read_frame(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            lost(sender)
        finally:
            writer.close()

    Path(address).unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve, address)
    try:
        yield
    finally:
        server.close()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(_LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0])


def unix_dial(me: MemberId) -> Dial:
    @asynccontextmanager
    async def dial(address: str, _: Callable[[], None]) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        _, writer = await asyncio.open_unix_connection(address)

        async def send(frame: bytes) -> None:
            writer.write(_LENGTH.pack(len(frame)) + frame)
            await writer.drain()

        try:
            await send(me.encode())
            yield send
        finally:
            writer.close()

    return dial


class Exchange:
    """The serving side of the Raft stream over gRPC."""

    def __init__(self, receive: Receive, lost: Callable[[MemberId], None]) -> None:
        self._receive = receive
        self._lost = lost

    async def exchange(self, caller: Caller, requests: AsyncIterator[Frame]) -> Taken:
        sender = MemberId(caller.node_id)
        try:
            async for frame in requests:
                self._receive(sender, frame.body)
        finally:
            self._lost(sender)
        return Taken()


@asynccontextmanager
async def grpc_link(file: MemberFile, receive: Receive, lost: Callable[[MemberId], None]) -> AsyncIterator[None]:
    identity = file.identity
    assert identity is not None
    server = RpcServer(identity=lambda: identity, cluster_id=file.cluster, authorize=lambda _: None)
    server.offer(RaftPeer, Exchange(receive, lost))
    await server.start(file.address)
    try:
        yield
    finally:
        await server.stop(0)


# What it is told to do


class Commands:
    """Each method serves one command; its arguments are the command's members."""

    def __init__(self, raft: Raft, table: Table) -> None:
        self._raft = raft
        self._table = table

    async def status(self) -> Any:
        return msgspec.to_builtins(self._raft.status()) | {
            "established": self._raft.leadership.value.is_established,
            "count": self._table.count,
            "digest": self._table.digest.hex(),
        }

    async def propose(self, payload: str) -> Any:
        return await self._raft.propose(payload.encode())

    async def read(self) -> Any:
        await self._raft.read_barrier()
        return self._table.count

    async def get(self, key: str) -> Any:
        value = self._table.values.get(key.encode())
        return None if value is None else value.decode()

    async def missing(self, keys: list[str]) -> Any:
        return [key for key in keys if key.encode() not in self._table.values]

    async def add(self, member: str, address: str) -> Any:
        await self._raft.add_member(MemberId(member), address, learner=False)

    async def remove(self, member: str) -> Any:
        await self._raft.remove(MemberId(member))

    async def transfer(self) -> Any:
        return await self._raft.transfer_leadership()

    async def write_until_refused(self) -> Any:
        while True:
            await self._raft.propose(b"00000009stale")

    async def write(self, writers: int, seconds: float, prefix: str) -> Any:
        """Writes unique keys from several coroutines at once; the keys that were acknowledged."""
        acknowledged: list[str] = []
        end = time.monotonic() + seconds

        async def writer(number: int) -> None:
            count = 0
            while time.monotonic() < end:
                key = f"{prefix}{number:x}{count:0{7 - len(prefix)}d}"  # 8 characters, up to 16 writers
                count += 1
                try:
                    await self._raft.propose(f"{key}value".encode())
                except (NotLeader, ProposalLost, TooBusy):
                    await asyncio.sleep(0.02)
                else:
                    acknowledged.append(key)

        await asyncio.gather(*(writer(number) for number in range(writers)))
        return acknowledged

    async def load(self, proposers: int, seconds: float, size: int) -> Any:
        """As many proposals as go through; the latencies' middle and tail in ms."""
        began = time.perf_counter()
        latencies = sorted(await self.latencies(proposers, seconds, size))
        took = time.perf_counter() - began
        p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
        return {"per_s": len(latencies) / took, "p50_ms": p50, "p99_ms": p99, "count": len(latencies)}

    async def latencies(self, proposers: int, seconds: float, size: int) -> list[float]:
        """Of each proposal under such a load, in ms, rounded to µs."""
        latencies: list[float] = []
        end = time.perf_counter() + seconds

        async def proposer(number: int) -> None:
            value, count = bytes(size - 8), 0
            while time.perf_counter() < end:
                began = time.perf_counter()
                await self._raft.propose(b"%02d%06d" % (number, count % 500) + value)
                latencies.append(round((time.perf_counter() - began) * 1000, 3))
                count += 1

        await asyncio.gather(*(proposer(number) for number in range(proposers)))
        return latencies


async def obey(commands: Commands) -> None:
    """Until the standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        while line := await reader.readline():
            asked = json.loads(line)
            group.create_task(_answer(commands, asked.pop("id"), asked.pop("do"), asked))


async def _answer(commands: Commands, number: int, verb: str, arguments: dict[str, Any]) -> None:
    try:
        answer = {"id": number, "ok": await getattr(commands, verb)(**arguments)}
    except Exception as failed:  # noqa: BLE001 - whoever asked is told
        answer = {"id": number, "error": type(failed).__name__, "text": str(failed)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(file: MemberFile) -> None:
    me = MemberId(file.id)
    storage = open_storage(Path(file.folder), key=bytes.fromhex(file.key), cluster=file.cluster)
    if file.founders and storage.load().is_empty:
        bootstrap(storage, [Member(id=MemberId(f"m{place}"), address=address) for place, address in enumerate(file.founders, 1)])
    table, rng = Table(), Random()
    identity = file.identity
    if file.link == "grpc":
        assert identity is not None
        dial = raft_dial(Remotes(lambda: identity))
    else:
        dial = unix_dial(me)
    streams = PeerStreams(dial, rng=rng)
    config = RaftConfig(snapshot_entries=file.snapshot_entries)
    raft = Raft(me, file.address, storage=storage, machine=table, transport=streams, rng=rng, config=config)
    streams.report_drops_to(raft.unreachable)
    link = grpc_link(file, raft.receive, raft.suspect) if file.link == "grpc" else unix_link(me, file.address, raft.receive, raft.suspect)
    async with link, background(raft.run, streams.run):
        await obey(Commands(raft, table))


if __name__ == "__main__":
    tls.prepare_environment()
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=MemberFile)))
