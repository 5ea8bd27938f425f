"""What a restarted daemon must still know: which tasks it was told to run and how far each is. Never a secret, never a credential.

One file of checked records, appended to at each change and rewritten when it has grown to several times what it holds. A record
is in the kernel's hands at once, so a daemon killed with -9 loses nothing; it is forced to the disk within a moment, in a thread.
A tail that was torn by a power loss is cut off: containers do not survive one either, and their labels tell the rest.
"""

import asyncio
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import OverlayNetwork
from cluster.api.errors import ShoalError
from cluster.api.ids import Id
from cluster.api.values import Value
from worker.lifecycle import LocalTask

FORMAT = 1
_FRAME = 8
_SYNC_EVERY = 0.2
_SLACK = 1 << 20
_log = logging.getLogger(__name__)


class JournalUnreadable(ShoalError):
    """The file is of a newer Shoal."""


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=1, tag_field="t"):
    format: int
    node_id: Id
    cluster_id: Id


class TaskAssigned(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=2, tag_field="t"):
    task: AssignedTask


class TaskKnown(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=3, tag_field="t"):
    known: LocalTask


class TaskForgotten(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=4, tag_field="t"):
    task_id: Id


class NetworkUsed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=5, tag_field="t"):
    network: OverlayNetwork


class NetworkUnused(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=6, tag_field="t"):
    network_id: Id


Record = Header | TaskAssigned | TaskKnown | TaskForgotten | NetworkUsed | NetworkUnused
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Kept(Value, frozen=True, kw_only=True):
    """What was in the file."""

    tasks: Mapping[Id, AssignedTask] = {}
    known: Mapping[Id, LocalTask] = {}
    networks: Mapping[Id, OverlayNetwork] = {}


class Journal:
    """The worker's own memory, in `folder`/tasks.journal. One process at a time; the daemon holds the lock of its state folder."""

    def __init__(self, folder: Path, *, node_id: Id, cluster_id: Id, clock: Clock) -> None:
        self._path = folder / "tasks.journal"
        self._header = _framed(Header(format=FORMAT, node_id=node_id, cluster_id=cluster_id))
        self._clock = clock
        self._live: dict[tuple[str, Id], bytes] = {}
        self._unsynced = Latest(0)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.kept = self._read(node_id, cluster_id)
        self._file = -1
        self._size = 0
        self._rewrite()

    def close(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    # -- writing -------------------------------------------------------------------------------------------------------------------------
    def assign(self, task: AssignedTask) -> None:
        """Told to run this. Credentials for a registry stay in memory: they come again with the next session."""
        self._put(("task", task.id), TaskAssigned(task=replace(task, registry_auth="")))

    def record(self, known: LocalTask) -> None:
        self._put(("known", known.task_id), TaskKnown(known=known))

    def forget(self, task_id: Id) -> None:
        had = [self._live.pop((kind, task_id), None) for kind in ("task", "known")]
        if any(had):
            self._append(_framed(TaskForgotten(task_id=task_id)))

    def networks(self, used: Mapping[Id, OverlayNetwork]) -> None:
        """These networks are used by tasks here, no others."""
        for network in used.values():
            self._put(("network", network.network_id), NetworkUsed(network=network))
        for key in [key for key in self._live if key[0] == "network" and key[1] not in used]:
            del self._live[key]
            self._append(_framed(NetworkUnused(network_id=key[1])))

    async def run(self) -> None:
        """Force what was written to the disk, without making anyone wait."""
        seen = 0
        while True:
            seen = await self._unsynced.wait_change(seen)
            file = self._file
            try:
                await asyncio.to_thread(os.fsync, file)
            except OSError as error:
                if file == self._file:  # otherwise a new file, synced whole, has taken its place meanwhile
                    self._fail(error)
            await self._clock.sleep(_SYNC_EVERY)

    def _put(self, key: tuple[str, Id], record: Record) -> None:
        frame = _framed(record)
        if self._live.get(key) != frame:
            self._live[key] = frame
            self._append(frame)

    def _append(self, frame: bytes) -> None:
        live = sum(map(len, self._live.values())) if self._size > _SLACK else self._size
        if self._file < 0 or self._size > _SLACK + 4 * live:
            self._rewrite()
            return
        try:
            if os.write(self._file, frame) != len(frame):
                raise OSError("short write")
        except OSError as error:
            self._fail(error)
        else:
            self._size += len(frame)
            self._unsynced.set(self._size)

    def _rewrite(self) -> None:
        """The live records alone, in a new file that takes the old one's place whole."""
        new = self._path.with_suffix(".new")
        content = b"".join([self._header, *self._live.values()])
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                if os.write(file, content) != len(content):
                    raise OSError("short write")
                os.fsync(file)
                new.replace(self._path)
                _sync_folder(self._path.parent)
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            self._fail(error)
            return
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, len(content)

    def _fail(self, error: OSError) -> None:
        """A full disk must not stop containers. After a half-written record nothing could be read: the next change writes all anew."""
        _log.error("cannot write %s: %s; tasks go on, a restart now would know less of them", self._path, error)
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    # -- reading -------------------------------------------------------------------------------------------------------------------------
    def _read(self, node_id: Id, cluster_id: Id) -> Kept:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Kept()
        records = _records(content)
        header = next(records, None)
        if not isinstance(header, Header):
            return Kept()
        if header.format > FORMAT:
            raise JournalUnreadable(
                f"{self._path} has format {header.format}, this shoald reads up to {FORMAT}; start the newer one, or move the file away: "
                "running containers are then adopted by their labels"
            )
        if (header.node_id, header.cluster_id) != (node_id, cluster_id):
            return Kept()  # from before this node left and joined again
        for record in records:
            self._take(record)
        return self._kept()

    def _take(self, record: Record) -> None:
        match record:
            case TaskAssigned(task=task):
                self._live["task", task.id] = _framed(record)
            case TaskKnown(known=known):
                self._live["known", known.task_id] = _framed(record)
            case NetworkUsed(network=network):
                self._live["network", network.network_id] = _framed(record)
            case TaskForgotten(task_id=gone):
                self._live.pop(("task", gone), None)
                self._live.pop(("known", gone), None)
            case NetworkUnused(network_id=gone):
                self._live.pop(("network", gone), None)
            case Header():
                pass

    def _kept(self) -> Kept:
        records = [record for frame in self._live.values() for record in _records(frame)]
        return Kept(
            tasks={record.task.id: record.task for record in records if isinstance(record, TaskAssigned)},
            known={record.known.task_id: record.known for record in records if isinstance(record, TaskKnown)},
            networks={record.network.network_id: record.network for record in records if isinstance(record, NetworkUsed)},
        )


def _framed(record: Record) -> bytes:
    body = _encode(record)
    return len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def _records(content: bytes) -> Iterator[Record]:
    """Up to the first that is torn or damaged."""
    at = 0
    while at + _FRAME <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        body = content[at + _FRAME : at + _FRAME + length]
        if len(body) < length or zlib.crc32(body) != int.from_bytes(content[at + 4 : at + _FRAME], "big"):
            break
        try:
            yield _decode(body)
        except msgspec.DecodeError as error:
            _log.error("a journal record cannot be decoded, what follows it is ignored: %s", error)
            break
        at += _FRAME + length


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
