"""What must hold in a cluster of managers after every step, seen from above: of the consensus, of the store, of what tasks are given.

`raft_checks.Checks` holds the consensus to the paper's promises; what is here begins where entries are applied.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator

from cluster.api.changes import Put, Remember, decode_entry
from cluster.api.ids import Id
from cluster.api.objects import Config, Endpoint, Network, Service, Task
from cluster.api.states import Kind, TaskState
from manager.raft.core.core import Core
from manager.raft.core.membership import MemberId
from manager.raft.core.state import Leader
from manager.store.apply import Refusal
from manager.store.snapshot import Snapshot
from tests.sim.raft_checks import Broken, Checks

Claim = tuple[object, ...]
TABLES = ("cluster", "nodes", "services", "tasks", "networks", "secrets", "configs", "templates", "template_versions", "requests",
          "request_order", "requests_seen", "indexes")  # fmt: skip
FULL_EVERY = 16
"""Entries between two comparisons of whole states; what an entry touched is compared each time."""


class Trace:
    """Everything that happened, as a number: two runs of one seed have the same."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=12)
        self.tell: Callable[[str], None] = lambda line: None

    def note(self, line: str) -> None:
        self._hash.update(line.encode())
        self.tell(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Watch:
    """The consensus of one daemon's life, as far as it was looked at."""

    def __init__(self, name: str, core: Core) -> None:
        self.name = name
        self.core = core
        self.commit = core.state.log.snapshot.index
        self.led = 0
        self.term = 0
        self._state = core.state

    @property
    def has_news(self) -> bool:
        """It is asked after every step, of every member."""
        state = self._state
        return state.log.commit != self.commit or state.term != self.term or (isinstance(state.role, Leader) and self.led != state.term)


class ManagerChecks:
    """Remembers everything that was ever true; members see only what they are told."""

    def __init__(self, trace: Trace) -> None:
        self.raft = Checks()
        self.states: dict[int, Snapshot] = {}
        self._entries: dict[int, tuple[bytes, Refusal | None]] = {}
        self._trace = trace
        self._made: set[Id] = set()
        self._done: set[Id] = set()
        self.refused = 0
        self.restored_states = 0

    # -- the consensus -----------------------------------------------------------------------------------------------------------------
    def looks(self, watch: Watch) -> None:
        """After a step of the loop."""
        state, me = watch.core.state, MemberId(watch.name)
        if state.log.commit != watch.commit:
            self.raft.commits(me, watch.core, watch.commit)
            watch.commit = state.log.commit
        if state.term != watch.term:
            watch.term = state.term
            self._trace.note(f"{watch.name} term {state.term}")
        if isinstance(state.role, Leader) and watch.led != state.term:
            watch.led = state.term
            self._trace.note(f"{watch.name} leads {state.term}")
            self.raft.leads(me, watch.core)

    # -- the store ---------------------------------------------------------------------------------------------------------------------
    def applied(self, name: str, payload: bytes, refusal: Refusal | None, *, before: Snapshot, after: Snapshot) -> None:
        index = after.version
        known = self._entries.get(index)
        self._trace.note(f"{name} applied {index} {hash_of(payload)}")
        if known is None:
            self._entries[index] = (payload, refusal)
            self.states[index] = after
            if refusal is None:
                self._first(payload, before, after)
            self.refused += refusal is not None
            return
        if known[0] != payload:
            raise Broken(f"State Machine Safety: {name} applied another entry {index} than others did")
        if known[1] != refusal:
            raise Broken(f"apply is not deterministic: entry {index} came to {refusal} on {name}, elsewhere to {known[1]}")
        reference = self.states[index]
        if index % FULL_EVERY == 0:
            self._same(name, after, reference)
        for kind, object_id in touched(after):
            if after.get(kind, object_id) != reference.get(kind, object_id):
                raise Broken(f"State Machine Safety: {kind} {object_id} differs on {name} after entry {index}")

    def restored(self, name: str, now: Snapshot) -> None:
        """A member took its state from a snapshot."""
        self.restored_states += 1
        self._trace.note(f"{name} restored {now.version}")
        reference = self.states.get(now.version)
        if reference is None:
            raise Broken(f"{name} has a snapshot of entry {now.version}, which nobody applied")
        self._same(name, now, reference)

    def _same(self, name: str, now: Snapshot, reference: Snapshot) -> None:
        for table in TABLES:
            if getattr(now, table) != getattr(reference, table):
                raise Broken(f"State Machine Safety: {table} differ on {name} after entry {now.version}")

    def _first(self, payload: bytes, before: Snapshot, after: Snapshot) -> None:
        for change in decode_entry(payload).changes:
            match change:
                case Remember(request_id=request):
                    self._once(self._done, request, "request")
                case Put(object=Service() | Network() | Config() as made, base=0):
                    self._once(self._made, made.id, "object")
                case _:
                    pass
        touched_kinds = set()
        for kind, object_id in touched(after):
            touched_kinds.add(kind)
            if kind is Kind.TASK:
                self._forward(before.tasks.get(object_id), after.tasks.get(object_id))
        if touched_kinds & {Kind.TASK, Kind.SERVICE, Kind.NETWORK}:
            check_given(after)

    def _once(self, done: set[Id], one: Id, what: str) -> None:
        if one in done:
            raise Broken(f"done twice: {what} {one}")
        done.add(one)

    def _forward(self, before: Task | None, after: Task | None) -> None:
        if before is None or after is None:
            return
        if after.state < before.state or after.desired_state < before.desired_state:
            raise Broken(f"task {after.id} went back from {before.state.wire} to {after.state.wire}")
        if before.node_id and after.node_id != before.node_id:
            raise Broken(f"task {after.id} moved from {before.node_id} to {after.node_id}")

    # -- what clients were told ----------------------------------------------------------------------------------------------------------
    def acknowledged(self, name: str, version: int, at: Snapshot) -> None:
        """A manager answered a client; `at` is what it shows then."""
        if version not in self.states and version > max(self.states, default=0):
            raise Broken(f"{name} acknowledged entry {version}, which nobody applied")
        if at.version < version:
            raise Broken(f"{name} acknowledged entry {version} and shows {at.version}")


def hash_of(payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=6).hexdigest()


def touched(now: Snapshot) -> Iterator[tuple[Kind, Id]]:
    """What the last entry changed, in a fixed order."""
    if now.history and now.history[-1].index == now.version:
        for kind, ids in sorted(now.history[-1].ids.items()):
            for object_id in sorted(ids):
                yield kind, object_id


def check_given(now: Snapshot) -> None:
    """No subnet, address, port or named resource is given twice, and of a slot at most two tasks are wanted."""
    owners: dict[Claim, str] = {}
    for claim, owner in (*_of_services(now), *_of_tasks(now)):
        other = owners.setdefault(claim, owner)
        if other != owner:
            raise Broken(f"given twice after entry {now.version}: {claim} to {other} and {owner}")
    slots: Counter[Claim] = Counter()
    for task in now.tasks.values():
        if task.desired_state <= TaskState.COMPLETE and not task.state.ended:
            slots[task.service_id, task.slot, "" if task.slot else task.node_id] += 1
    for slot, count in slots.items():
        if count > 2:
            raise Broken(f"{count} tasks are wanted of slot {slot} after entry {now.version}")


def _of_services(now: Snapshot) -> Iterator[tuple[Claim, str]]:
    for network in now.networks.values():
        if network.subnet:
            yield ("subnet", network.subnet), network.id
    for service in now.services.values():
        endpoint = service.endpoint or Endpoint()
        for vip in endpoint.virtual_ips:
            if vip.addr:
                yield ("address", vip.network_id, vip.addr), service.id
        for port in endpoint.ports:
            if port.publish_mode != "host":
                yield ("port", port.protocol, port.published_port), service.id


def _of_tasks(now: Snapshot) -> Iterator[tuple[Claim, str]]:
    for task in now.tasks.values():
        if task.state.ended:
            continue
        for attachment in task.attachments:
            yield ("address", attachment.network_id, attachment.address), task.id
        for port in now.template_of(task).host_ports if task.state >= TaskState.ASSIGNED else ():
            yield ("host port", task.node_id, port.protocol, port.published_port), task.id
        for resource in task.resources:
            yield ("resource", task.node_id, resource.kind, resource.value), task.id
