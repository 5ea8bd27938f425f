"""A manager's disk on virtual time: slow or full as the weather has it, and the power may fail before or after any sync."""

from collections.abc import Callable
from random import Random

import msgspec

from manager.raft.core.effects import Persist
from manager.raft.core.entries import HardState
from manager.raft.errors import StorageFull
from manager.raft.memory import MemoryStorage
from manager.raft.ports import SnapshotSink
from manager.raft.writer import LoopWriter
from tests.sim.manager_tally import Tally


class DiskWeather(msgspec.Struct):
    """How the disks are."""

    slow: float = 0.0
    """How often a sync takes a second instead of a millisecond."""
    crash: float = 0.0
    """How often the power fails at a sync."""
    tally: Tally = msgspec.field(default_factory=Tally)

    def calm(self) -> None:
        self.slow = self.crash = 0.0


class Disk(MemoryStorage):
    """What survives the daemon; `power_fails` ends the life of who writes."""

    def __init__(self, rng: Random, weather: DiskWeather) -> None:
        super().__init__()
        self.is_full = False
        self.rng = rng
        self.weather = weather
        self.power_fails: Callable[[], None] = lambda: None

    def sync(self) -> None:
        if self._staged is None:
            return
        self._needs_room()
        draw = self.rng.random()
        if draw < self.weather.crash / 2:
            self.power_fails()
            return
        super().sync()
        if draw < self.weather.crash:
            self.power_fails()

    def install_snapshot(self, sink: SnapshotSink, hard: HardState | None) -> None:
        self._needs_room()
        if self.rng.random() < self.weather.crash:
            self.power_fails()
            return
        super().install_snapshot(sink, hard)
        self.weather.tally.snapshots_installed += 1

    def crash(self) -> None:
        self.weather.tally.unsynced_writes_lost += self._staged is not None
        super().crash()

    def _needs_room(self) -> None:
        if self.is_full:
            self.weather.tally.writes_on_full_disks += 1
            raise StorageFull("memory", "the weather is so")

    def seconds(self) -> float:
        """For the next sync."""
        if self.rng.random() < self.weather.slow:
            self.weather.tally.slow_syncs += 1
            return self.rng.uniform(0.3, 1.5)
        return self.rng.uniform(0.0005, 0.004)


class DiskWriter(LoopWriter):
    """Writes for one life of a daemon, each time as long as the disk takes; nothing once that life is over."""

    def __init__(self, disk: Disk, *, is_alive: Callable[[], bool], on_order: Callable[[Persist], None]) -> None:
        super().__init__(disk)
        self._disk = disk
        self._is_alive = is_alive
        self._on_order = on_order

    def order(self, order: Persist) -> None:
        self._on_order(order)
        super().order(order)

    def _serve_in(self, seconds: float) -> None:
        super()._serve_in(seconds if self._desk.is_stuck else self._disk.seconds())

    def _serve(self) -> None:
        if self._is_alive():
            super()._serve()
