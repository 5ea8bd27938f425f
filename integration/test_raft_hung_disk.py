"""A disk that hangs without an error, as `fsfreeze` makes a real one do: the leader on it hands over, and follows once it goes on."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.raft_rig import MemberGroup, MemberProcess, Refused, members

pytestmark = [pytest.mark.timeout(120), pytest.mark.root]
MIB = 1 << 20


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


@contextmanager
def own_disk(image: Path, at: Path) -> Iterator[None]:
    """A file system in a file, through a loop device. Skips where there is none."""
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    try:
        run("mkfs.ext4", "-q", "-F", str(image))
        run("mount", "-o", "loop", str(image), str(at))
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"needs loop devices, mkfs.ext4 and fsfreeze: {getattr(refused, 'stderr', '') or refused}")
    try:
        yield
    finally:
        run("umount", "--lazy", str(at))


@contextmanager
def frozen(at: Path) -> Iterator[None]:
    """Whoever writes or syncs there waits, in the kernel, even for SIGKILL: it must be thawed whatever happens."""
    run("fsfreeze", "--freeze", str(at))
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", str(at))


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[MemberGroup]:
    """Each on a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts and freezes file systems")
    disks = [own_disk(tmp_path / f"{name}.img", tmp_path / name) for name in ("m1", "m2", "m3")]
    with disks[0], disks[1], disks[2]:
        async with members(tmp_path, link="grpc", count=3, snapshot_entries=300) as group:
            yield group


async def test_a_leader_whose_disk_hangs_hands_over_and_comes_back_as_a_follower(three: MemberGroup) -> None:
    old = await three.leader()
    before = await old.tell("write", writers=4, seconds=0.5, prefix="b")
    with frozen(Path(old.file.folder)):
        began = time.monotonic()
        unknown = asyncio.ensure_future(old.tell("propose", payload="unknown.value"))
        new = await _another_leader(three, old)
        assert time.monotonic() - began < 5.0  # a second of patience and an election; the machine is shared
        with pytest.raises(Refused, match="ProposalLost"):
            await unknown
        with pytest.raises(Refused, match="StorageStalled: the disk of the Raft log has not finished a write"):
            await old.tell("propose", payload="refused.value")
        assert (await old.tell("status"))["role"] == "follower"
        after = await new.tell("write", writers=4, seconds=0.5, prefix="a")
        assert after
        assert (await new.tell("status"))["established"]
    await three.until(lambda statuses: len({status["digest"] for status in statuses}) == 1)
    status = await old.tell("status")
    assert (status["role"], status["storage_problem"]) == ("follower", None)
    for member in three.members:
        await member.tell("read")
        assert await member.tell("missing", keys=[*before, *after]) == []


async def _another_leader(group: MemberGroup, old: MemberProcess) -> MemberProcess:
    async with asyncio.timeout(20):
        while True:
            for member in group.members:
                if member is not old and (await member.tell("status"))["established"]:
                    return member
            await asyncio.sleep(0.01)
