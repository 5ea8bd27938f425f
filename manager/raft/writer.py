"""The one thread that writes: whatever came while the last sync ran shares the next one (group commit, thesis 10.2.1).

A full disk is waited out here: the batch stays staged, in its place, and is tried again every second and after every piece
of work that may make room. Any other failure ends the writing: what a disk holds after a failed sync is not known.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from manager.raft.core.effects import Install, Persist
from manager.raft.errors import StorageFull
from manager.raft.ports import SnapshotSink, Storage

T = TypeVar("T")
Tell = Callable[..., object]
RETRY_SECONDS = 1.0


class WriterEvents(Protocol):
    """Told in the event loop, in order."""

    def on_written(self, orders: list[Persist]) -> None: ...

    def on_installed(self, install: Install) -> None: ...

    def on_full(self, full: StorageFull | None) -> None:
        """The disk is full; or, with None, has room again."""
        ...

    def on_failed(self, failure: BaseException) -> None: ...


class Writer(Protocol):
    """Where the driver's writes go. `ThreadWriter` is the real one, `LoopWriter` its twin on (virtual) loop time."""

    def start(self, events: WriterEvents) -> None: ...

    def order(self, order: Persist) -> None: ...

    def install(self, install: Install, sink: SnapshotSink) -> None: ...

    async def submit(self, work: Callable[[], T], *, makes_room: bool = False) -> T:
        """Run `work` after everything ordered before, or at once on a full disk if it `makes_room`."""
        ...

    async def read(self, work: Callable[[], T]) -> T:
        """Run `work` beside the writing."""
        ...

    def stop(self) -> None:
        """Finish what was ordered."""
        ...


class _Work:
    """Something else to do than orders."""

    def __init__(self, run: Callable[[], object], done: asyncio.Future[object], *, makes_room: bool) -> None:
        self.run = run
        self.done = done
        self.makes_room = makes_room


class _Installation:
    """A snapshot to put in force, in its place among the orders."""

    def __init__(self, install: Install, sink: SnapshotSink) -> None:
        self.install = install
        self.sink = sink


_Job = Persist | _Work | _Installation


class _Desk:
    """Does jobs in their order, as many orders with one sync as wait together. Used by one thread at a time."""

    def __init__(self, storage: Storage, events: WriterEvents, tell: Tell) -> None:
        self._storage = storage
        self._events = events
        self._tell = tell
        self._waiting: deque[_Job] = deque()
        self._unsynced: list[Persist] = []
        self.is_stuck = False

    def put(self, job: _Job) -> None:
        self._waiting.append(job)

    def serve(self) -> None:
        """All that waits; on a full disk, only what may make room."""
        while self._waiting:
            job = self._waiting[0]
            if isinstance(job, Persist):
                self._storage.write(job.hard, job.entries, job.commit)
                self._unsynced.append(job)
            elif not self._sync() or not self._done(job):
                break
            self._waiting.popleft()
        if self._sync():
            return
        for job in [job for job in self._waiting if isinstance(job, _Work) and job.makes_room]:
            self._waiting.remove(job)
            self._do(job)

    def _sync(self) -> bool:
        if not self._unsynced:
            return True
        if not self._fits(self._storage.sync):
            return False
        orders, self._unsynced = self._unsynced, []
        self._tell(self._events.on_written, orders)
        return True

    def _fits(self, write: Callable[[], None]) -> bool:
        """Do it; False if the disk is full, which is told once, as is the end of it."""
        try:
            write()
        except StorageFull as full:
            if not self.is_stuck:
                self.is_stuck = True
                self._tell(self._events.on_full, full)
            return False
        if self.is_stuck:
            self.is_stuck = False
            self._tell(self._events.on_full, None)
        return True

    def _done(self, job: _Work | _Installation) -> bool:
        if isinstance(job, _Work):
            self._do(job)
            return True
        if self._fits(lambda: self._storage.install_snapshot(job.sink, job.install.hard)):
            self._tell(self._events.on_installed, job.install)
            return True
        return False

    def _do(self, work: _Work) -> None:
        try:
            result = work.run()
        except Exception as failure:  # noqa: BLE001 - it belongs to whoever submitted the work
            self._tell(_fail, work.done, failure)
        else:
            self._tell(_succeed, work.done, result)


class ThreadWriter:
    """The `Writer` of a real member."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raft-reader")

    def start(self, events: WriterEvents) -> None:
        loop = asyncio.get_running_loop()

        def tell(callback: Callable[..., None], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(callback, *arguments)

        desk = _Desk(self._storage, events, tell)
        self._thread = threading.Thread(target=self._run, args=(desk, events, tell), name="raft-writer", daemon=True)
        self._thread.start()

    def order(self, order: Persist) -> None:
        self._jobs.put(order)

    def install(self, install: Install, sink: SnapshotSink) -> None:
        self._jobs.put(_Installation(install, sink))

    async def submit(self, work: Callable[[], T], *, makes_room: bool = False) -> T:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Work(work, done, makes_room=makes_room))
        return await done  # type: ignore[return-value]

    async def read(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    def stop(self) -> None:
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
        self._reader.shutdown()

    def _run(self, desk: _Desk, events: WriterEvents, tell: Tell) -> None:
        try:
            while self._collect(desk):
                desk.serve()
            desk.serve()
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the loop must know
            tell(events.on_failed, failure)

    def _collect(self, desk: _Desk) -> bool:
        """Wait for a job, take all that are there; False once told to stop."""
        try:
            job = self._jobs.get(timeout=RETRY_SECONDS if desk.is_stuck else None)
            while job is not None:
                desk.put(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            return True
        return False


class LoopWriter:
    """A `Writer` without a thread: each sync takes `seconds` of the loop's time, so it runs on virtual time too."""

    def __init__(self, storage: Storage, *, seconds: float = 0.001) -> None:
        self._storage = storage
        self.seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._hangs = False

    def hang(self) -> None:
        """The disk takes what it is given, and is never done with it."""
        self._hangs = True

    def thaw(self) -> None:
        """It goes on."""
        self._hangs = False
        self._serve_in(self.seconds)

    def start(self, events: WriterEvents) -> None:
        self._events = events
        self._desk = _Desk(self._storage, events, lambda callback, *arguments: callback(*arguments))

    def order(self, order: Persist) -> None:
        self._put(order)

    def install(self, install: Install, sink: SnapshotSink) -> None:
        self._put(_Installation(install, sink))

    async def submit(self, work: Callable[[], T], *, makes_room: bool = False) -> T:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._put(_Work(work, done, makes_room=makes_room))
        return await done  # type: ignore[return-value]

    async def read(self, work: Callable[[], T]) -> T:
        return work()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _put(self, job: _Job) -> None:
        self._desk.put(job)
        if self._timer is None or self._desk.is_stuck:
            self._serve_in(self.seconds)

    def _serve_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._serve)

    def _serve(self) -> None:
        self._timer = None
        if self._hangs:
            return
        try:
            self._desk.serve()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the driver must know
            self._events.on_failed(failure)
            return
        if self._desk.is_stuck:
            self._serve_in(RETRY_SECONDS)


def _succeed(done: asyncio.Future[object], result: object) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[object], failure: Exception) -> None:
    if not done.done():
        done.set_exception(failure)
