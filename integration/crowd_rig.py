"""A manager that leads by itself, and a crowd of workers in another process. The manager is the real one: Raft with its log on disk, RPCs
over mutual TLS, every loop; the workers have real sessions and no containers.
"""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import ChangeSet, encode_entry
from cluster.api.ids import Id
from cluster.api.states import Role
from cluster.rpc.identity import Identity, new_csr, new_key
from cluster.rpc.pool import Remotes
from cluster.rpc.server import RpcServer
from integration.crowd_process import CrowdFile, Seen
from manager.ca.authority import issue, make_root
from manager.ca.founding import Founding, founding_changes
from manager.manager import Manager, ManagerParts
from manager.raft.core.membership import Member, MemberId
from manager.raft.driver import Raft, bootstrap
from manager.raft.opening import open_storage
from manager.raft.proposer import RaftProposer, StoreMachine
from manager.raft.transport import PeerStreams
from manager.store.store import Store
from node_agent.machine import draw_id, draw_key, draw_serial
from node_agent.manager_link import raft_dial

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = "crowd"
clock = SystemClock()


class LoneLeader:
    """As `node_agent.manager_side` puts a manager together, without a node around it."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self._root = make_root(new_key(), cluster_id=CLUSTER, now=time.time(), serial=draw_serial())
        self.me = draw_id()
        self._identity = self.identity(self.me, Role.MANAGER)
        self._storage = open_storage(folder / "raft", key=draw_key(), cluster=CLUSTER)
        founding = Founding(
            cluster_id=CLUSTER, node_id=self.me, ingress_id=draw_id(), root=self._root, worker_secret="w", manager_secret="m",
            addr=self.address, data_path_addr="127.0.0.1",
        )  # fmt: skip
        entry = ChangeSet(at=clock.wall(), changes=tuple(founding_changes(founding)))
        bootstrap(self._storage, [Member(id=MemberId(self.me), address=self.address)], [encode_entry(entry)])
        self.store = Store()
        remotes, rng = Remotes(lambda: self._identity), Random(1)
        peers = PeerStreams(raft_dial(remotes), rng=rng)
        self.raft = Raft(MemberId(self.me), self.address, storage=self._storage, machine=StoreMachine(self.store), transport=peers, rng=rng)
        self.proposer = RaftProposer(self.raft, clock)
        self._manager = Manager(
            ManagerParts(
                node_id=self.me, addr=self.address, raft=self.raft, peers=peers, store=self.store, remotes=remotes, clock=clock, rng=rng,
                draw_id=draw_id, serial=draw_serial, draw_key=draw_key,
            )
        )  # fmt: skip
        self._server: RpcServer | None = None

    def identity(self, node_id: Id, role: Role) -> Identity:
        key = new_key()
        issued = issue(
            self._root, new_csr(key), node_id=node_id, role=role, cluster_id=CLUSTER, now=time.time(), lifetime=86_400,
            serial=draw_serial(),
        )  # fmt: skip
        return Identity(key=key, certificate=issued, roots=self._root.certificate)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        try:
            async with background(self._manager.run):
                async for now in self.raft.leadership.values():
                    if now.is_established:
                        break
                await self.listen()
                yield
        finally:
            await self.hang_up()
            self._storage.close()

    async def listen(self) -> None:
        self._server = RpcServer(identity=lambda: self._identity, cluster_id=CLUSTER, authorize=self._manager.authorize)
        self._manager.offer(self._server)
        await self._server.start(self.address)

    async def hang_up(self) -> None:
        """Every connection breaks at once."""
        if self._server is not None:
            await self._server.stop(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CrowdProcess:
    """The workers, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def seen(self) -> Seen:
        await self.tell("seen")
        assert self._process.stdout is not None
        return msgspec.json.decode(await self._process.stdout.readline(), type=Seen)


@asynccontextmanager
async def crowd(leader: LoneLeader, node_ids: Sequence[Id], folder: Path) -> AsyncIterator[CrowdProcess]:
    """The workers of these nodes, which the leader's store must know."""
    file = folder / "crowd"
    file.write_bytes(
        msgspec.msgpack.encode(CrowdFile(address=leader.address, identities=[leader.identity(one, Role.WORKER) for one in node_ids]))
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "integration.crowd_process", str(file), cwd=ROOT, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield CrowdProcess(process)
    finally:
        process.stdin.close()
        await process.wait()
