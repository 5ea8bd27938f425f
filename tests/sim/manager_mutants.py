"""Mistakes that a driver, a store or a manager could make, one by one; what a core could is in `raft_mutants`."""

from collections.abc import Iterator
from itertools import count
from weakref import WeakKeyDictionary

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.commands import Command
from cluster.api.objects import Config, Object, TaskStatus
from manager.controlapi import admit as admission
from manager.controlapi.admission import Admission
from manager.controlapi.control import Control
from manager.manager import Manager
from manager.raft.core import replication
from manager.raft.core.effects import Persist, Proposed
from manager.raft.core.state import Leader, State
from manager.raft.proposals import Proposals
from manager.raft.proposer import Applied
from manager.store import apply, frames
from manager.store.snapshot import Snapshot
from tests.sim.manager_disk import DiskWriter
from tests.sim.raft_mutants import CORE_MUTANTS, Rule

# On the way to the disk


def order_without_waiting(writer: DiskWriter, order: Persist) -> None:
    """What should wait for the disk leaves at once."""
    writer._events.on_written([order])
    super(DiskWriter, writer).order(replace(order, release=()))


# In the driver


def answers_before_apply(proposals: Proposals, proposed: Proposed) -> None:
    """A proposal counts as done once it is in the leader's log."""
    waiters, sizes = proposals._asked.pop(proposed.request, []), proposals._sizes.pop(proposed.request, [])
    for index, (waiter, size) in enumerate(zip(waiters, sizes, strict=True), proposed.first):
        proposals._bytes -= size
        if not waiter.done():
            waiter.set_result(Applied(index, None))


# In the core


def is_always_followed(state: State, role: Leader) -> bool:
    """Without the check that a majority still answers."""
    return True


# In the manager


async def leads_for_ever(manager: Manager, term: int) -> None:
    """The loops of a leader outlive its leadership."""
    async for _ in manager._raft.leadership.values():
        pass


_requests: WeakKeyDictionary[Control, set[str]] = WeakKeyDictionary()


async def admits_by_own_memory(control: Control, request: Command) -> tuple[Snapshot, Admission]:
    """Which requests were done is known to the leader that did them, and forgotten with it."""
    mine, name = _requests.setdefault(control, set()), getattr(request, "request_id", "")
    decide = admission._admit if name and name not in mine else admission.admit
    now = control._store.snapshot
    decided = decide(now, request)
    mine.add(name)
    return now, decided


# In the store

_all_objects = frames._all_objects
_calls = count()


def all_objects_but_configs(now: Snapshot) -> Iterator[Object]:
    """A snapshot that misses a table."""
    return (item for item in _all_objects(now) if not isinstance(item, Config))


def timed_by_itself(draft: apply.Draft, status: TaskStatus) -> TaskStatus:
    """What apply comes to depends on where it runs."""
    return replace(status, timestamp=next(_calls))


class Mistake(Struct, frozen=True):
    """A rule that is replaced, and the faults that bring it to light."""

    rule: Rule
    faults: tuple[str, ...]


MISTAKES: dict[str, Mistake] = {
    "acknowledges before the sync": Mistake((DiskWriter, "order", order_without_waiting), ("power_failure", "crash_leader")),
    "answers before apply": Mistake((Proposals, "entered", answers_before_apply), ("cut_off_leader",)),
    "leads without a majority": Mistake((replication, "is_followed", is_always_followed), ("cut_off_leader",)),
    "goes on with its loops after its term": Mistake((Manager, "_wait_past", leads_for_ever), ("hand_over", "cut_off_leader")),
    "forgets requests with the leader": Mistake((Control, "_admit", admits_by_own_memory), ("hand_over", "crash_leader")),
    "leaves a table out of snapshots": Mistake((frames, "_all_objects", all_objects_but_configs), ("crash", "cut_off")),
    "applies differently on each member": Mistake((apply.Draft, "_timed", timed_by_itself), ("crash",)),
    **{
        name: Mistake(CORE_MUTANTS[name], ("cut_off_leader", "crash_leader"))
        for name in (
            "votes for logs that lack entries", "reads without asking a majority",
            "appends without comparing",
        )
    },
}  # fmt: skip
"""Those that show with whole managers; the others need the finer storms of the consensus alone, or a script."""
