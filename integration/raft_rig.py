"""Members as processes, from outside: start, tell, kill -9, stop and continue them."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from cluster.api.states import Role
from cluster.rpc.identity import Identity, new_csr, new_key
from integration.raft_member_process import MemberFile
from manager.ca.authority import Root, issue, make_root

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = "lab"


class Refused(Exception):
    """A member answered with an error."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class MemberProcess:
    """One member's folder, and its process while that runs."""

    def __init__(self, file: MemberFile, path: Path) -> None:
        self.file = file
        self.id = file.id
        self._path = path
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._number = 0

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._path.write_bytes(msgspec.json.encode(self.file))
        log = self._path.with_suffix(".log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "integration.raft_member_process", str(self._path), cwd=ROOT, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=log, limit=64 * 1024 * 1024,
            )  # fmt: skip
        finally:
            log.close()
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            waiting = self._answers.pop(answer["id"], None)
            if waiting is not None and not waiting.done():
                if "error" in answer:
                    waiting.set_exception(Refused(answer["error"], answer["text"]))
                else:
                    waiting.set_result(answer["ok"])
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(Refused("Died", self.tail()))
        self._answers.clear()

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._path.with_suffix(".log").read_text(errors="replace").splitlines()[-15:])

    async def tell(self, verb: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
        if self._process is None or self._process.stdin is None:
            raise Refused("Died", "it is not running")
        self._number += 1
        number = self._number
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": verb, **arguments}).encode() + b"\n")
        async with asyncio.timeout(timeout):
            return await answer

    def signal(self, which: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, which)

    def memory_kib(self) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def disk_bytes(self) -> int:
        return sum(file.stat().st_blocks * 512 for file in Path(self.file.folder).rglob("*") if file.is_file())

    async def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
            self._process = None
        if self._listener is not None:
            await self._listener
            self._listener = None


class MemberGroup:
    """Some members on this machine."""

    def __init__(self, folder: Path, link: str, count: int, *, snapshot_entries: int) -> None:
        self._folder = folder
        self._link = link
        self._key = os.urandom(32).hex()
        self._root = make_root(new_key(), cluster_id=CLUSTER, now=time.time(), serial=1)
        self._snapshot_entries = snapshot_entries
        addresses = [self._address(place) for place in range(1, count + 1)]
        self.members = [self._member(place, address, addresses) for place, address in enumerate(addresses, 1)]

    def _address(self, place: int) -> str:
        if self._link == "unix":
            return str(self._folder / f"m{place}.sock")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{free.getsockname()[1]}"

    def _member(self, place: int, address: str, founders: list[str]) -> MemberProcess:
        name = f"m{place}"
        file = MemberFile(
            id=name, address=address, folder=str(self._folder / name), link=self._link, founders=founders, key=self._key,
            snapshot_entries=self._snapshot_entries, identity=_identity(self._root, name) if self._link == "grpc" else None,
        )  # fmt: skip
        return MemberProcess(file, self._folder / f"{name}.json")

    def joiner(self) -> MemberProcess:
        """One with an empty folder."""
        place = len(self.members) + 1
        self.members.append(self._member(place, self._address(place), []))
        return self.members[-1]

    async def start(self) -> None:
        for member in self.members:
            await member.start()

    async def leader(self, *, within: float = 20.0) -> MemberProcess:
        """Wait until one leads, with all that was committed before applied."""
        async with asyncio.timeout(within):
            while True:
                for member in self.members:
                    if member.is_up:
                        try:
                            if (await member.tell("status", timeout=5))["established"]:
                                return member
                        except (Refused, TimeoutError):
                            continue
                await asyncio.sleep(0.02)

    async def until(self, holds: Callable[[list[dict[str, Any]]], bool], *, within: float = 30.0) -> None:
        """Wait until it holds for the statuses of all members that run."""
        async with asyncio.timeout(within):
            while not holds([await member.tell("status") for member in self.members if member.is_up]):
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        for member in self.members:
            await member.kill()


def _identity(root: Root, name: str) -> Identity:
    key = new_key()
    certificate = issue(root, new_csr(key), node_id=name, role=Role.MANAGER, cluster_id=CLUSTER, now=time.time(), lifetime=86400, serial=2)
    return Identity(key=key, certificate=certificate, roots=root.certificate)


@asynccontextmanager
async def members(folder: Path, *, link: str, count: int, snapshot_entries: int = 10_000) -> AsyncIterator[MemberGroup]:
    group = MemberGroup(folder, link, count, snapshot_entries=snapshot_entries)
    try:
        await group.start()
        yield group
    finally:
        await group.stop()
