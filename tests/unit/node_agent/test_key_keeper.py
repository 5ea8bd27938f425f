"""A manager's keys are sealed as the swarm says now, not as it said once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.changes import ChangeSet, Put, encode_entry
from cluster.api.errors import NoLeader
from cluster.api.objects import Cluster
from cluster.api.specs import ClusterSpec, EncryptionConfig
from manager.store.snapshot import Snapshot
from manager.store.store import Store
from node_agent.key_keeper import KeyKeeper
from node_agent.keylock import unlock_key
from node_agent.state import StateFolder

ONE, TWO = unlock_key(bytes(32)), unlock_key(bytes(range(32)))


class Stage:
    """A store, a state folder with a data key, and whether a quorum can be read."""

    def __init__(self, folder: Path) -> None:
        self.store = Store()
        self.state = StateFolder(folder)
        self.state.data_key(b"d" * 32)
        self.caught_up = asyncio.Event()

    def say(self, key: str) -> None:
        """The swarm's word on autolock: the key, or empty for none."""
        now = self.store.snapshot
        spec = ClusterSpec(encryption_config=EncryptionConfig(auto_lock_managers=bool(key)))
        cluster = replace(now.cluster or Cluster(id="c"), spec=spec, unlock_key=key)
        base = now.cluster.version if now.cluster else 0
        assert self.store.apply(now.version + 1, encode_entry(ChangeSet(at=1, changes=(Put(object=cluster, base=base),)))) is None

    async def read(self) -> Snapshot:
        await self.caught_up.wait()
        return self.store.snapshot

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        keeper = KeyKeeper(self.state, self.store, read=self.read, clock=SystemClock())
        async with background(keeper.run):
            yield

    async def wait_locked_with(self, key: str) -> None:
        async with asyncio.timeout(5):
            while not self.state.is_locked_with(key):  # noqa: ASYNC110 - files wake nobody
                await asyncio.sleep(0)


async def test_the_keys_follow_what_the_swarm_says(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.caught_up.set()
    async with stage.keeping():
        for key in (ONE, TWO, "", ONE):
            stage.say(key)
            await stage.wait_locked_with(key)
    stage.state.close()


async def test_a_log_that_is_read_again_locks_nothing_with_a_key_of_the_past(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.keeping():
        stage.say(ONE)
        for _ in range(20):
            await asyncio.sleep(0)
        assert stage.state.is_locked_with("")
        stage.say(TWO)
        stage.caught_up.set()
        await stage.wait_locked_with(TWO)
    stage.state.close()


async def test_without_a_leader_it_waits(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    answers: list[BaseException | None] = [NoLeader("none"), None]

    async def read() -> Snapshot:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return stage.store.snapshot

    class Hasty(SystemClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    stage.say(ONE)
    keeper = KeyKeeper(stage.state, stage.store, read=read, clock=Hasty())
    async with background(keeper.run):
        await stage.wait_locked_with(ONE)
    stage.state.close()
