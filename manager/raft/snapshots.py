"""Snapshots on their way: from the state machine to the disk, from a leader's disk to a follower's (paper section 7).

A snapshot travels in chunks beside the other messages. The receiver says which chunk it wants next; the sender keeps a few ahead
of that and, when it hears nothing, starts again from there, so a lost connection costs no more than what was on its way.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from manager.raft.applier import Applier
from manager.raft.codec import Said, SnapshotPart, SnapshotWanted
from manager.raft.config import RaftConfig
from manager.raft.core.core import Core
from manager.raft.core.entries import SnapshotMeta
from manager.raft.core.events import Event, SnapshotArrived, SnapshotSaved, SnapshotSent
from manager.raft.core.membership import MemberId
from manager.raft.errors import StorageFull
from manager.raft.ports import Capture, SnapshotReader, SnapshotSink, StateMachine, Storage
from manager.raft.writer import Writer

log = logging.getLogger(__name__)


class Task:
    """Work under way that can be given up."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()


class Shipment:
    """A snapshot being sent to one peer."""

    def __init__(self) -> None:
        self.wanted = 0
        self.news = asyncio.Event()


class Arrival:
    """A snapshot being received."""

    def __init__(self, first: SnapshotPart, sender: MemberId) -> None:
        self.snapshot = first.snapshot
        self.sender = sender
        self.count = first.count
        self.accepted = 0
        self.parts: asyncio.Queue[SnapshotPart] = asyncio.Queue()

    def is_of(self, part: SnapshotPart, sender: MemberId) -> bool:
        return (self.snapshot, self.count, self.sender) == (part.snapshot, part.count, sender)


class Snapshots:
    """Takes, sends and receives them, each in a task of the driver's group."""

    def __init__(
        self, config: RaftConfig, *, core: Core, machine: StateMachine, applier: Applier, storage: Storage, writer: Writer,
        say: Callable[[MemberId, Said], None], report: Callable[[Event], None],
    ) -> None:  # fmt: skip
        self._config = config
        self._core = core
        self._machine = machine
        self._applier = applier
        self._storage = storage
        self._writer = writer
        self._say = say
        self._report = report
        self._group: asyncio.TaskGroup | None = None
        self._is_saving = False
        self._shipments: dict[MemberId, Shipment] = {}
        self._arrival: Arrival | None = None
        self._receiving: Task | None = None
        self._arrived: dict[SnapshotMeta, SnapshotSink] = {}

    def run_in(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> Task:
        if self._group is None:
            raise RuntimeError("the member is not running")
        return Task(self._group.create_task(work, name=name))

    # Taking our own

    def save_if_due(self) -> None:
        """After 10,000 entries or 64 MiB. Capturing takes no time; encoding and writing go on beside everything else."""
        applier, config = self._applier, self._config
        due = applier.entries_since_snapshot >= config.snapshot_entries or applier.bytes_since_snapshot >= config.snapshot_bytes
        if due and not (self._is_saving or applier.is_restoring):
            self._is_saving = True
            capture, snapshot = self._machine.capture(), self._core.snapshot_at(applier.applied)
            applier.snapshot_begun()
            self._spawn(self._save(capture, snapshot), "raft-snapshot")

    async def _save(self, capture: Capture, snapshot: SnapshotMeta) -> None:
        keep_from = max(snapshot.index - self._config.keep_entries + 1, 1)
        try:
            sink = await self._writer.submit(lambda: self._storage.begin_snapshot(snapshot), makes_room=True)
            try:
                for chunk in capture.chunks():
                    await self._writer.submit(_adding(sink, chunk), makes_room=True)
                    await asyncio.sleep(0)
                await self._writer.submit(lambda: self._storage.save_snapshot(sink, keep_from), makes_room=True)
            except StorageFull:
                sink.discard()
                raise
        except StorageFull as full:
            log.error("no snapshot taken at entry %d: %s", snapshot.index, full)
        else:
            self._report(SnapshotSaved(snapshot=snapshot, keep_from=keep_from))
        finally:
            self._is_saving = False

    # Sending

    def send(self, to: MemberId, snapshot: SnapshotMeta) -> None:
        if to not in self._shipments:
            shipment = self._shipments[to] = Shipment()
            self._spawn(self._ship(to, snapshot.index, shipment), f"raft-snapshot-to-{to}")

    async def _ship(self, to: MemberId, asked_index: int, shipment: Shipment) -> None:
        arrived = False
        try:
            reader = await self._writer.read(self._storage.open_snapshot)
            if reader is not None:
                try:
                    arrived = await self._ship_chunks(to, reader, shipment)
                finally:
                    reader.close()
        finally:
            del self._shipments[to]
        self._report(SnapshotSent(to=to, index=asked_index, arrived=arrived))

    async def _ship_chunks(self, to: MemberId, reader: SnapshotReader, shipment: Shipment) -> bool:
        term, sent, silent = self._core.state.term, 0, 0
        while shipment.wanted < reader.count:
            while sent < min(shipment.wanted + self._config.snapshot_window, reader.count):
                chunk = await self._writer.read(_reading(reader, sent))
                self._say(to, SnapshotPart(term=term, snapshot=reader.snapshot, number=sent, count=reader.count, chunk=chunk))
                sent += 1
            before = shipment.wanted
            shipment.news.clear()
            try:
                async with asyncio.timeout(self._config.snapshot_patience):
                    await shipment.news.wait()
            except TimeoutError:
                sent = shipment.wanted
            silent = 0 if shipment.wanted > before else silent + 1
            if silent > self._config.snapshot_attempts or self._core.state.term != term:
                return False
            sent = max(sent, shipment.wanted)
        return True

    def on_wanted(self, sender: MemberId, wanted: SnapshotWanted) -> None:
        shipment = self._shipments.get(sender)
        if shipment is not None and wanted.number > shipment.wanted:
            shipment.wanted = wanted.number
            shipment.news.set()

    # Receiving

    def on_part(self, sender: MemberId, part: SnapshotPart) -> None:
        if part.term < self._core.state.term:
            return
        if part.snapshot.index <= self._core.state.log.commit or part.snapshot in self._arrived:
            self._say(sender, SnapshotWanted(index=part.snapshot.index, number=part.count))  # we need it no more
            return
        if self._arrival is None or not self._arrival.is_of(part, sender):
            if part.number != 0:
                return
            self._begin(part, sender)
        arrival = self._arrival
        if arrival is not None and part.number == arrival.accepted:
            arrival.accepted += 1
            arrival.parts.put_nowait(part)

    def _begin(self, first: SnapshotPart, sender: MemberId) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        arrival = self._arrival = Arrival(first, sender)
        self._receiving = self._spawn(self._receive(arrival), f"raft-snapshot-from-{sender}")

    async def _receive(self, arrival: Arrival) -> None:
        sink = await self._writer.submit(lambda: self._storage.begin_snapshot(arrival.snapshot))
        try:
            part = await arrival.parts.get()
            while True:
                await self._writer.submit(_adding(sink, part.chunk))
                self._say(arrival.sender, SnapshotWanted(index=arrival.snapshot.index, number=part.number + 1))
                if part.number + 1 == arrival.count:
                    break
                part = await arrival.parts.get()
        except StorageFull as full:
            log.error("snapshot of entry %d not taken: %s", arrival.snapshot.index, full)
            sink.discard()
            self._arrival = None
            return
        except asyncio.CancelledError:
            sink.discard()
            raise
        self._arrival = None
        self._arrived[arrival.snapshot] = sink
        self._report(SnapshotArrived(sender=arrival.sender, term=part.term, snapshot=arrival.snapshot))

    def claim(self, snapshot: SnapshotMeta) -> SnapshotSink:
        """The consensus puts this one in force."""
        return self._arrived.pop(snapshot)

    def discard_unclaimed(self) -> None:
        """After the step that saw `SnapshotArrived`: what it did not take is not needed."""
        for sink in self._arrived.values():
            sink.discard()
        self._arrived.clear()


def _adding(sink: SnapshotSink, chunk: bytes) -> Callable[[], None]:
    return lambda: sink.add(chunk)


def _reading(reader: SnapshotReader, number: int) -> Callable[[], bytes]:
    return lambda: reader.read(number)
