"""The world around simulated members: virtual time, a network and disks that misbehave as the seed says, and clients.

Nothing here is random but through `rng`, and everything happens in the order of one heap, so a seed replays exactly.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from manager.raft.core.entries import SnapshotMeta
from manager.raft.core.events import (
    ChangeMembership,
    Received,
    SnapshotArrived,
    SnapshotSent,
    Suspect,
    TellCommit,
    Tick,
    TransferLeadership,
)
from manager.raft.core.membership import Add, Change, Demote, Member, MemberId, Promote, Remove, Standing
from manager.raft.core.messages import Message
from manager.raft.core.state import Leader
from manager.raft.driver import bootstrap
from manager.raft.memory import MemoryStorage
from tests.sim.raft_checks import Broken, Checks
from tests.sim.raft_member import SimMember

FOUNDERS = tuple(MemberId(f"m{number}") for number in range(1, 4))
MOST_MEMBERS = 7


class World:
    """A cluster, from its founding to the end of the seed."""

    def __init__(self, seed: int, *, make: type[SimMember] = SimMember) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.checks = Checks()
        self.now = 0.0
        self.is_calm = False
        self.steps = 0
        self._make = make
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._cut: Counter[tuple[MemberId, MemberId]] = Counter()
        self._busy: set[MemberId] = set()
        self._lost: MemberId | None = None
        """Whose disk was lost, until it was counted out."""
        self._disks: Counter[MemberId] = Counter()
        """How many each has lost: what was on its way to or from it then is lost as well, as connections end with the process."""
        self._payloads = 0
        self._loss = self.rng.choice((0.0, 0.02, 0.15))
        self._slow_disks = self.rng.random() < 0.4
        self._fault_rate = self.rng.choice((0.03, 0.1, 0.2))
        self._repeats = self.rng.choice((0.02, 0.2))
        self._late = self.rng.choice((0.0, 0.05, 0.2))
        self._crash_at_sync = self.rng.choice((0.0, 0.0, 0.01, 0.04))
        self._kinds = self._draw_kinds()
        self._client_rate = self.rng.choice((0.5, 2.0, 5.0))
        self.members: dict[MemberId, SimMember] = {}
        founders = [Member(id=founder, address=founder) for founder in FOUNDERS]
        for founder in FOUNDERS:
            storage = MemoryStorage()
            bootstrap(storage, founders)
            self._create(founder, storage)
        self._after(1.0, self._client)
        self._after(5.0, self._fault)

    def _draw_kinds(self) -> list[Callable[[], None]]:
        """Each world suffers from some kinds of fault only, so that these come together more often."""
        kinds = [self._crash, self._crash_leader, self._cut_off, self._cut_off_leader, self._cut_some, self._change, self._power_failure,
                 self._transfer, self._suspect, self._lose_disk]  # fmt: skip
        return self.rng.sample(kinds, k=self.rng.randint(2, 6))

    # Time

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            self.steps += 1
            action()
        self.now = until

    def _after(self, delay: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self.now + delay, self._order, action))

    def _create(self, me: MemberId, storage: MemoryStorage) -> None:
        self.members[me] = self._make(me, world=self, checks=self.checks, rng=Random(self.rng.getrandbits(32)), storage=storage)
        self._tick(me, self.rng.uniform(0.7, 1.4))

    def _tick(self, me: MemberId, pace: float) -> None:
        """Each member's clock goes fast or slow, and not evenly."""
        member = self.members[me]
        if member.is_up:
            member.step(Tick())
        self._after(pace * self.rng.uniform(0.9, 1.1), lambda: self._tick(me, pace))

    # Surroundings of a member

    def post(self, sender: MemberId, to: MemberId, message: Message) -> None:
        copies = 1
        if not self.is_calm:
            if self.rng.random() < self._loss:
                return
            copies += self.rng.random() < self._repeats
        deliver = self._connected(sender, to, lambda: self._deliver(sender, to, message))
        for _ in range(copies):
            self._after(self._delay(), deliver)

    def _connected(self, sender: MemberId, to: MemberId, action: Callable[[], None]) -> Callable[[], None]:
        before = (self._disks[sender], self._disks[to])
        return lambda: action() if before == (self._disks[sender], self._disks[to]) else None

    def _delay(self) -> float:
        late = not self.is_calm and self.rng.random() < self._late
        return self.rng.uniform(1.0, 8.0) if late else self.rng.uniform(0.05, 0.4)

    def _deliver(self, sender: MemberId, to: MemberId, message: Message) -> None:
        if self._cut[sender, to] > 0:
            return
        if to not in self.members:
            self._create(to, MemoryStorage())
        if self.members[to].is_up:
            self.members[to].step(Received(sender=sender, message=message))

    def ship(self, sender: MemberId, to: MemberId, snapshot: SnapshotMeta, chunks: tuple[bytes, ...], term: int) -> None:
        life = self.members[sender].life

        def arrive() -> None:
            member, shipper = self.members[to], self.members[sender]
            fits = member.is_up and self._cut[sender, to] <= 0
            if fits:
                member.arrived(snapshot, chunks, lambda: SnapshotArrived(sender=sender, term=term, snapshot=snapshot))
            if shipper.is_up and shipper.life == life:
                shipper.step(SnapshotSent(to=to, index=snapshot.index, arrived=fits))

        self._after(self.rng.uniform(0.5, 6.0), self._connected(sender, to, arrive))

    def linger(self, member: MemberId) -> None:
        self._after(self.rng.uniform(0.02, 0.3), lambda: self._tell_commit(member))

    def _tell_commit(self, name: MemberId) -> None:
        if self.members[name].is_up:
            self.members[name].step(TellCommit())

    def disk_busy(self, member: MemberId) -> None:
        if member in self._busy:
            return
        self._busy.add(member)
        life = self.members[member].life if member in self.members else 1
        slow = self._slow_disks and not self.is_calm and self.rng.random() < 0.02
        self._after(self.rng.uniform(2.0, 12.0) if slow else self.rng.uniform(0.05, 0.6), lambda: self._synced(member, life))

    def _synced(self, name: MemberId, life: int) -> None:
        self._busy.discard(name)
        member = self.members[name]
        if not member.is_up:
            return
        count = self.rng.randint(1, len(member.disk)) if member.disk and member.life == life else 0
        decides = any(order.hard is not None for order in list(member.disk)[:count])
        frailty = 0.0 if self.is_calm else self._crash_at_sync * (5.0 if decides else 0.5)
        if self.rng.random() < frailty:
            self._down(member)  # just before
            return
        member.sync(count)
        if self.rng.random() < frailty:
            self._down(member)  # just after
        elif member.disk:
            self.disk_busy(name)

    # Clients and faults

    def leaders(self) -> list[SimMember]:
        return [member for member in self.members.values() if member.is_up and isinstance(member.core.state.role, Leader)]

    def _client(self) -> None:
        self._operate()
        if not self.is_calm:
            self._after(self.rng.expovariate(self._client_rate), self._client)

    def _operate(self) -> None:
        """Mostly at a leader, sometimes at whoever; writes and reads."""
        up = [member for member in self.members.values() if member.is_up]
        choice = self.leaders() if self.rng.random() < 0.8 else up
        if choice:
            member = self.rng.choice(choice)
            if self.rng.random() < 0.75:
                self._payloads += 1
                member.propose(b"%d" % self._payloads)
            else:
                member.read()

    def _fault(self) -> None:
        if self.is_calm:
            return
        self.rng.choice(self._kinds)()
        self._after(self.rng.expovariate(self._fault_rate), self._fault)

    def _crash(self) -> None:
        up = [member for member in self.members.values() if member.is_up]
        if up:
            self._down(self.rng.choice(up))

    def _down(self, member: SimMember) -> None:
        member.crash()
        away = self.rng.uniform(0.01, 0.5) if self.rng.random() < 0.5 else self.rng.uniform(1.0, 15.0)
        self._after(away, lambda: None if member.is_up or member.me == self._lost else member.start())

    def _crash_leader(self) -> None:
        for leader in self.leaders():
            self._down(leader)
            self._break_connections(leader.me)

    def _break_connections(self, leader: MemberId, *, noticed: float = 0.7) -> None:
        """Its peers notice, some of them, at about the same time."""
        for other in [other for other in self.members if other != leader and self.rng.random() < noticed]:
            self._after(self.rng.uniform(0.0, 0.2), partial(self._suspects, other, leader))

    def _power_failure(self) -> None:
        for member in list(self.members.values()):
            if member.is_up:
                self._down(member)

    def _cut_off(self) -> None:
        self._isolate(self.rng.choice(list(self.members)))

    def _cut_off_leader(self) -> None:
        for leader in self.leaders():
            self._isolate(leader.me)
            self._break_connections(leader.me, noticed=self.rng.choice((0.5, 1.0)))
            for _ in range(30):
                self._after(self.rng.uniform(1.0, 6.0), self._operate)  # while both it and its successor lead

    def _isolate(self, lonely: MemberId) -> None:
        """One member from all others, in both directions or in one."""
        ways = self.rng.choice(((True, True), (True, False), (False, True)))
        others = [other for other in self.members if other != lonely]
        outward, inward = ways
        self._cut_pairs([(lonely, other) for other in others if outward] + [(other, lonely) for other in others if inward])

    def _cut_some(self) -> None:
        pairs = [(one, other) for one in self.members for other in self.members if one != other]
        self._cut_pairs(self.rng.sample(pairs, k=self.rng.randint(1, len(pairs) // 3)))

    def _cut_pairs(self, pairs: list[tuple[MemberId, MemberId]]) -> None:
        """No word passes between them, for a while."""
        self._cut.update(pairs)
        self._after(self.rng.uniform(2.0, 25.0), lambda: self._cut.subtract(pairs))

    def _suspect(self) -> None:
        """Connections break, and the leader lives."""
        for leader in self.leaders():
            self._break_connections(leader.me)

    def _suspects(self, name: MemberId, leader: MemberId) -> None:
        if self.members[name].is_up:
            self.members[name].step(Suspect(member=leader))

    def _transfer(self) -> None:
        for leader in self.leaders():
            leader.step(TransferLeadership(to=self.rng.choice([None, *self.members])))

    def _lose_disk(self) -> None:
        """Of one member at a time, where a majority is left without it. It takes no part until it was counted out; then it begins anew."""
        leader = self._leader_for_sure()
        if self._lost is not None or leader is None or len(leader.core.state.voters) < 3:
            return
        log = leader.core.state.log
        up = [member.id for member in log.membership.members if member.id in self.members and self.members[member.id].is_up]
        if log.membership_index > log.commit or not up:
            return
        lost = self.members[self.rng.choice(up)]
        lost.crash()
        lost.lose_disk()
        self._disks[lost.me] += 1
        if lost.waits_to_be_counted_out:
            self._lost = lost.me
            self._after(self.rng.uniform(0.1, 5.0), partial(self._count_out, lost.me))
        else:
            lost.start()

    def _count_out(self, lost: MemberId) -> None:
        leader = self._leader_for_sure()
        if leader is not None:
            log = leader.core.state.log
            if log.membership.find(lost) is None and log.membership_index <= log.commit:
                self._lost = None
                self.members[lost].start()
                self._take_in(lost)
                return
            leader.step(ChangeMembership(request=0, change=Remove(id=lost)))
        self._after(self.rng.uniform(0.1, 1.0), partial(self._count_out, lost))

    def _take_in(self, anew: MemberId) -> None:
        leader = self._leader_for_sure()
        if leader is not None:
            if leader.core.state.log.membership.find(anew) is not None:
                return
            leader.step(ChangeMembership(request=0, change=Add(id=anew, address="", promote=True)))
        self._after(self.rng.uniform(0.1, 1.0), partial(self._take_in, anew))

    def _leader_for_sure(self) -> SimMember | None:
        """Nobody has a newer term, and something of this one is committed: its log has all that is."""
        newest = max(member.core.state.term for member in self.members.values() if member.me != self._lost)
        return next((one for one in self.leaders() if one.core.state.term == newest and one.core.state.has_settled), None)

    def _change(self) -> None:
        """One or two changes asked of whoever leads."""
        for leader in self.leaders():
            for _ in range(self.rng.randint(1, 2)):
                change = self._draw_change(leader)
                if change is not None:
                    leader.step(ChangeMembership(request=0, change=change))

    def _draw_change(self, leader: SimMember) -> Change | None:
        members = leader.core.state.log.membership.members
        if self._lost is not None:
            return None  # a majority might need it
        name = self.rng.choice(members).id
        kind = self.rng.random()
        if kind < 0.45 or len(leader.core.state.voters) <= 2:
            if len(self.members) >= MOST_MEMBERS:
                return None
            return Add(id=MemberId(f"m{len(self.members) + 1}"), address="", promote=self.rng.random() < 0.8)
        if kind < 0.6:
            return Promote(id=name)
        if kind < 0.75:
            return Demote(id=name)
        return Remove(id=name)

    # The end

    def calm(self) -> None:
        """All faults end, everybody is up; then progress must be made and everybody must agree."""
        self.is_calm = True
        self._cut.clear()
        for member in self.members.values():
            if not member.is_up and member.me != self._lost:
                member.start()
        for _ in range(60):
            self.run(self.now + 20)
            if self._has_converged():
                self.checks.ends_with({member.me: member.machine for member in self._in_force()})
                return
            for leader in self.leaders():
                self._payloads += 1
                leader.propose(b"%d" % self._payloads)
        states = [
            (m.me, m.core.state.role_name.value, m.core.state.term, m.applied, m.core.state.log.last_index) for m in self.members.values()
        ]
        raise Broken(f"no progress in calm weather: {states}")

    def _has_converged(self) -> bool:
        leaders = self.leaders()
        if not leaders:
            return False
        log = max(leaders, key=lambda leader: leader.core.state.term).core.state.log
        settled = log.commit == log.last_index and all(member.standing is not Standing.JOINING for member in log.membership.members)
        return settled and all(member.applied == log.last_index for member in self._in_force())

    def _in_force(self) -> list[SimMember]:
        newest = max(self.leaders(), key=lambda leader: leader.core.state.term)
        for member in newest.core.state.log.membership.members:
            if member.id not in self.members:
                self._create(member.id, MemoryStorage())
        return [self.members[member.id] for member in newest.core.state.log.membership.members]


def simulate(seed: int, *, length: float = 400.0, make: type[SimMember] = SimMember) -> World:
    """One life of a cluster. Raises `Broken` or `Violation`."""
    world = World(seed, make=make)
    world.run(length)
    world.calm()
    return world
