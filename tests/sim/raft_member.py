"""One simulated member: the real core and the real in-memory storage, with a shell that performs effects on virtual time.

The disk is a queue: orders wait there until the world lets it sync, which may be any number of them at once, or never if the
member crashes before.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol, assert_never

from manager.raft.core.core import Core
from manager.raft.core.effects import (
    Apply,
    Effect,
    Install,
    Linger,
    Persist,
    Proposed,
    ReadFailed,
    ReadReady,
    Refused,
    RoleChanged,
    RoleName,
    Send,
    SendSnapshot,
)
from manager.raft.core.entries import Command, Entry, SnapshotMeta
from manager.raft.core.events import Event, Persisted, Propose, ReadIndex, SnapshotSaved
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Message
from manager.raft.core.state import Settings
from manager.raft.memory import MemorySink, MemoryStorage
from tests.sim.raft_checks import Checks

SETTINGS = Settings(heartbeat_ticks=1, election_ticks=4, max_append_bytes=100, max_flights=4, max_flight_bytes=1000)
SNAPSHOT_EVERY = 15
KEEP = 5


class Surroundings(Protocol):
    """What a member can do to the world."""

    def post(self, sender: MemberId, to: MemberId, message: Message) -> None: ...

    def ship(self, sender: MemberId, to: MemberId, snapshot: SnapshotMeta, chunks: tuple[bytes, ...], term: int) -> None: ...

    def linger(self, member: MemberId) -> None: ...

    def disk_busy(self, member: MemberId) -> None: ...


class SimMember:
    """A member's disk, and its process while that runs."""

    waits_to_be_counted_out = True
    """Once its disk is lost; see node_agent.manager_side."""

    def __init__(self, me: MemberId, *, world: Surroundings, checks: Checks, rng: Random, storage: MemoryStorage) -> None:
        self.me = me
        self.storage = storage
        self._world = world
        self._checks = checks
        self._rng = rng
        self.life = 0
        self.is_up = False
        self.start()

    # Its process

    def start(self) -> None:
        self.life += 1
        self.is_up = True
        self.core = Core(self.me, stored=self.storage.load(), draw=self._rng.randrange, settings=SETTINGS)
        self.applied = 0
        self._inbox: deque[tuple[Event, ...]] = deque()
        self._seen_commit = self.core.state.log.snapshot.index
        self.machine: list[bytes] = []
        self.disk: deque[Persist | Install] = deque()
        self._sinks: dict[SnapshotMeta, MemorySink] = {}
        self._proposals: dict[int, bytes] = {}
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._reads: dict[int, int] = {}
        self._due_reads: list[tuple[int, int]] = []
        self._request = self._rng.getrandbits(40)
        self._restore()
        self.step()

    def crash(self) -> None:
        self.is_up = False
        self.storage.crash()

    def lose_disk(self) -> None:
        self.storage = MemoryStorage()

    def step(self, *events: Event) -> None:
        """Together, then whatever their effects lead to at once."""
        self._inbox.append(events)
        if len(self._inbox) > 1:
            return
        while self._inbox:
            effects = self.core.step_all(self._inbox[0])
            self._checks.commits(self.me, self.core, self._seen_commit)
            self._seen_commit = self.core.state.log.commit
            for effect in effects:
                self.perform(effect)
            self._inbox.popleft()

    def perform(self, effect: Effect) -> None:  # noqa: C901 - one line a kind of effect
        match effect:
            case Send(to=to, message=message):
                self._world.post(self.me, to, message)
            case Persist(entries=entries):
                self._checks.holds(self.me, self.core, entries)
                self._order(effect)
            case Install():
                self._order(effect)
            case Apply(entries=entries):
                self._apply(entries)
            case Linger():
                self._world.linger(self.me)
            case SendSnapshot(to=to):
                self._ship(to)
            case Proposed(request=request, first=first, term=term):
                if request in self._proposals:
                    self._waiting[first] = (term, self._proposals.pop(request))
            case Refused(request=request):
                self._proposals.pop(request, None)
            case ReadReady(request=request, index=index):
                self._due_reads.append((index, self._reads.pop(request, 0)))
                self._answer_reads()
            case ReadFailed(request=request):
                self._reads.pop(request, None)
            case RoleChanged(role=role):
                if role is RoleName.LEADER:
                    self._checks.leads(self.me, self.core)
            case _:
                assert_never(effect)

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            self._checks.applies(self.me, entry, self.applied)
            self.applied = entry.index
            if isinstance(entry, Command):
                self.machine.append(entry.payload)
                self._acknowledge(entry)
        self._answer_reads()
        self._snapshot_if_due()

    # Clients

    def propose(self, payload: bytes) -> None:
        self._request += 1
        self._proposals[self._request] = payload
        self.step(Propose(request=self._request, payloads=(payload,)))

    def read(self) -> None:
        self._request += 1
        self._reads[self._request] = self._checks.highest_acknowledged
        self.step(ReadIndex(request=self._request))

    def _acknowledge(self, entry: Command) -> None:
        term, payload = self._waiting.pop(entry.index, (0, b""))
        if term == entry.term:
            self._checks.acknowledges(payload, entry.index)

    def _answer_reads(self) -> None:
        due = [read for read in self._due_reads if read[0] <= self.applied]
        self._due_reads = [read for read in self._due_reads if read[0] > self.applied]
        for index, floor in due:
            self._checks.reads_at(self.me, index, not_below=floor)

    # Its disk

    def _order(self, order: Persist | Install) -> None:
        self.disk.append(order)
        self._world.disk_busy(self.me)

    def sync(self, count: int) -> None:
        """The disk has made the first `count` orders durable."""
        orders = [self.disk.popleft() for _ in range(min(count, len(self.disk)))]
        for order in orders:
            self.write(order)
        self.storage.sync()
        for order in orders:
            for send in order.release:
                self._world.post(self.me, send.to, send.message)
        if orders:
            self.step(Persisted(ticket=orders[-1].ticket))

    def write(self, order: Persist | Install) -> None:
        if isinstance(order, Persist):
            self.storage.write(order.hard, order.entries, order.commit)
            return
        self.storage.sync()
        self.storage.install_snapshot(self._sinks.pop(order.snapshot), order.hard)
        self._restore()

    # Snapshots

    def _ship(self, to: MemberId) -> None:
        reader = self.storage.open_snapshot()
        if reader is not None:
            chunks = tuple(reader.read(number) for number in range(reader.count))
            self._world.ship(self.me, to, reader.snapshot, chunks, self.core.state.term)

    def arrived(self, snapshot: SnapshotMeta, chunks: tuple[bytes, ...], report: Callable[[], Event]) -> None:
        sink = self.storage.begin_snapshot(snapshot)
        for chunk in chunks:
            sink.add(chunk)
        self._sinks[snapshot] = sink
        self.step(report())

    def _snapshot_if_due(self) -> None:
        if self.applied - self.core.state.log.snapshot.index < SNAPSHOT_EVERY:
            return
        snapshot, keep_from = self.core.snapshot_at(self.applied), max(self.applied - KEEP + 1, 1)
        sink = self.storage.begin_snapshot(snapshot)
        for payload in self.machine:
            sink.add(payload)
        self.storage.save_snapshot(sink, keep_from)
        if self.storage.load().snapshot == snapshot:
            self.step(SnapshotSaved(snapshot=snapshot, keep_from=keep_from))

    def _restore(self) -> None:
        reader = self.storage.open_snapshot()
        if reader is not None:
            self.machine = [reader.read(number) for number in range(reader.count)]
            self.applied = reader.snapshot.index
