"""Real drivers on virtual time: members of one process, with in-memory disks and an in-memory network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from random import Random

import msgspec

from manager.raft.config import RaftConfig
from manager.raft.core.membership import Member, MemberId
from manager.raft.core.state import Settings
from manager.raft.driver import Raft, bootstrap
from manager.raft.memory import MemoryStorage
from manager.raft.memory_network import MemoryNetwork
from manager.raft.writer import LoopWriter

CONFIG = RaftConfig(core=Settings(), snapshot_entries=50, keep_entries=10)


class Ledger:
    """A state machine that keeps everything it was given."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def apply(self, index: int, payload: bytes) -> object:
        self.entries.append(payload)
        return (index, payload)

    def capture(self) -> "LedgerCapture":
        return LedgerCapture(tuple(self.entries))

    def restoration(self) -> "LedgerRestoration":
        return LedgerRestoration(self)


class LedgerRestoration:
    """What has been read of a capture."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._entries: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        self._entries += msgspec.msgpack.decode(chunk, type=list[bytes])

    def finish(self) -> None:
        self._ledger.entries = self._entries


class LedgerCapture:
    """Encoded a few payloads at a time, so that snapshots have several chunks."""

    def __init__(self, entries: tuple[bytes, ...]) -> None:
        self._entries = entries

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._entries), 20):
            yield msgspec.msgpack.encode(self._entries[start : start + 20])


class Node:
    """A member's disk, and its process while that runs."""

    def __init__(self, name: str, cluster: "Cluster", storage: MemoryStorage) -> None:
        self.id = MemberId(name)
        self.address = f"{name}:2377"
        self.storage = storage
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        cluster = self._cluster
        self.ledger = cluster.make_machine()
        self.writer = LoopWriter(self.storage)
        self.raft = Raft(
            self.id, self.address, storage=self.storage, machine=self.ledger, transport=cluster.network.transport_of(self.id),
            rng=Random(f"{cluster.seed}-{self.id}"), config=cluster.config, writer=self.writer,
        )  # fmt: skip
        cluster.network.listen(self.address, self.raft.receive)
        self._task = asyncio.get_running_loop().create_task(self.raft.run())

    async def stop(self) -> BaseException | None:
        """Kill it; what it ended with, if it had ended already."""
        self._cluster.network.close(self.address)
        task, self._task = self._task, None
        if task is None:
            return None
        was_done = task.done()
        task.cancel()
        await asyncio.wait([task])
        self.storage.crash()
        return task.exception() if was_done else None


class Cluster:
    """Nodes that found a cluster, and those that join later."""

    def __init__(self, *names: str, seed: int = 1, config: RaftConfig = CONFIG, make_machine: Callable[[], Ledger] = Ledger) -> None:
        self.seed = seed
        self.config = config
        self.make_machine = make_machine
        self.network = MemoryNetwork()
        self.nodes: dict[str, Node] = {}
        founders = [Member(id=MemberId(name), address=f"{name}:2377") for name in names]
        for name in names:
            storage = MemoryStorage()
            bootstrap(storage, founders)
            self.nodes[name] = Node(name, self, storage)

    def join(self, name: str) -> Node:
        """A process with an empty disk."""
        self.nodes[name] = Node(name, self, MemoryStorage())
        return self.nodes[name]

    async def leader(self, *, among: Iterable[str] | None = None) -> Node:
        """Wait until one of them leads, with all that was committed before applied."""
        nodes = [self.nodes[name] for name in among or self.nodes]
        while True:
            for node in nodes:
                if node.raft.leadership.value.is_established:
                    return node
            await asyncio.sleep(0.01)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 - on virtual time, looking again costs nothing
            await asyncio.sleep(0.01)


@asynccontextmanager
async def cluster(
    *names: str, seed: int = 1, config: RaftConfig = CONFIG, make_machine: Callable[[], Ledger] = Ledger
) -> AsyncIterator[Cluster]:
    made = Cluster(*names, seed=seed, config=config, make_machine=make_machine)
    try:
        yield made
    finally:
        for node in made.nodes.values():
            await node.stop()
