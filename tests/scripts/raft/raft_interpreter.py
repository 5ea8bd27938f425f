"""Plays a script of the consensus and writes down what happens: the commands are kept, the indented lines below each are the outcome.

    python -m tests.scripts.raft.raft_interpreter FILE...      plays the scripts and writes their outcomes into them

A member is the simulation's, so every promise of `tests.sim.raft_checks` is checked along the way. Time passes by `tick` alone, and
election timeouts are always the shortest; messages wait until `deliver`, disks until `sync`; `settle` does both until all is quiet.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from manager.raft.core.effects import Apply, Effect, Persist, Proposed, ReadReady, Refused, RoleChanged, RoleName, Send, SendSnapshot
from manager.raft.core.entries import Command, Configure, Entry, Noop, SnapshotMeta
from manager.raft.core.events import (
    ChangeMembership,
    Received,
    SnapshotArrived,
    SnapshotSent,
    StepDown,
    Suspect,
    TellCommit,
    Tick,
    TransferLeadership,
)
from manager.raft.core.membership import Add, Change, Demote, Member, MemberId, Promote, Remove
from manager.raft.core.messages import Append, Message
from manager.raft.driver import bootstrap
from manager.raft.memory import MemoryStorage
from tests.sim.raft_checks import Broken, Checks
from tests.sim.raft_member import SETTINGS, SimMember

INDENT = "    "


class Shortest(Random):
    """Draws the smallest number."""

    def randrange(self, *limits: int) -> int:  # type: ignore[override]
        return 0

    def getrandbits(self, k: int, /) -> int:
        return 0


class SpokenMember(SimMember):
    """A simulated member that says what it does."""

    def perform(self, effect: Effect) -> None:
        script: Script = self._world  # type: ignore[assignment]
        for line in _told(self.me, effect, is_verbose=script.is_verbose):
            script.say(line)
        super().perform(effect)


class Script:
    """The state of a script that is played."""

    def __init__(self, *, make: type[SimMember] = SpokenMember) -> None:
        self.is_verbose = False
        self.checks = Checks()
        self.members: dict[MemberId, SimMember] = {}
        self._make = make
        self._on_their_way: list[tuple[MemberId, MemberId, Message]] = []
        self._snapshots: list[Callable[[], None]] = []
        self._lingering: set[MemberId] = set()
        self._cut: set[tuple[str, str]] = set()
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        self._lines.append(line)

    def play(self, text: str) -> str:
        """The same text, with what happened."""
        written: list[str] = []
        for line in text.splitlines():
            if line.startswith(INDENT):
                continue
            written.append(line)
            if line and not line.startswith("#"):
                self._lines = []
                verb, *words = line.split()
                getattr(self, f"do_{verb.replace('-', '_')}")(*words)
                written += [INDENT + said for said in self._lines]
        return "\n".join(written) + "\n"

    # A member's surroundings

    def post(self, sender: MemberId, to: MemberId, message: Message) -> None:
        if (sender, to) not in self._cut:
            self._on_their_way.append((sender, to, message))

    def ship(self, sender: MemberId, to: MemberId, snapshot: SnapshotMeta, chunks: tuple[bytes, ...], term: int) -> None:
        def arrive() -> None:
            self.members[to].arrived(snapshot, chunks, lambda: SnapshotArrived(sender=sender, term=term, snapshot=snapshot))
            self.members[sender].step(SnapshotSent(to=to, index=snapshot.index, arrived=True))

        self._snapshots.append(arrive)

    def linger(self, member: MemberId) -> None:
        self._lingering.add(member)

    def disk_busy(self, member: MemberId) -> None:
        pass

    # Commands

    def do_cluster(self, *names: str) -> None:
        """Found a new cluster of these voters."""
        self.__init__(make=self._make)  # type: ignore[misc]
        founders = [Member(id=MemberId(name), address=name) for name in names]
        for founder in founders:
            storage = MemoryStorage()
            bootstrap(storage, founders)
            self._create(founder.id, storage)
        self._lines = []

    def do_elect(self, name: str) -> None:
        """Let its timeout pass, then all be quiet."""
        for _ in range(SETTINGS.election_ticks):
            self._member(name).step(Tick())
        self.do_settle()

    def do_tick(self, name: str, count: str = "1") -> None:
        with self._aloud():
            for _ in range(int(count)):
                self._member(name).step(Tick())

    def do_hang_up(self, leader: str) -> None:
        """Everyone's connection from it breaks: whoever takes it for the leader may stand at its next tick."""
        for member in self.members.values():
            if member.is_up and member.me != leader:
                member.step(Suspect(member=MemberId(leader)))

    def do_propose(self, name: str, payload: str, size: str = "0") -> None:
        with self._aloud():
            self._member(name).propose(payload.ljust(int(size), ".").encode())

    def do_read(self, name: str) -> None:
        with self._aloud():
            self._member(name).read()

    def do_change(self, name: str, verb: str, target: str) -> None:
        kinds: dict[str, Callable[[MemberId], Change]] = {
            "add": lambda it: Add(id=it, address=it),
            "join": lambda it: Add(id=it, address=it, promote=True),
            "promote": lambda it: Promote(id=it),
            "demote": lambda it: Demote(id=it),
            "remove": lambda it: Remove(id=it),
        }
        with self._aloud():
            self._member(name).step(ChangeMembership(request=0, change=kinds[verb](MemberId(target))))

    def do_transfer(self, name: str, to: str) -> None:
        with self._aloud():
            self._member(name).step(TransferLeadership(to=MemberId(to)))

    def do_step_down(self, name: str) -> None:
        with self._aloud():
            self._member(name).step(StepDown())

    def do_sync(self, name: str) -> None:
        with self._aloud():
            member = self._member(name)
            member.sync(len(member.disk))

    def do_deliver(self, *links: str) -> None:
        """What is on its way now, on all links or on these (`a>b`); nothing that comes of it."""
        with self._aloud():
            self._deliver(links)

    def do_drop(self, *links: str) -> None:
        """Lose what is on its way."""
        kept = [sent for sent in self._on_their_way if links and f"{sent[0]}>{sent[1]}" not in links]
        self.say(f"{len(self._on_their_way) - len(kept)} lost")
        self._on_their_way = kept

    def do_settle(self) -> None:
        """Deliver and sync until all is quiet."""
        for _ in range(1000):
            busy = [member for member in self.members.values() if member.is_up and member.disk]
            if not (busy or self._on_their_way or self._snapshots or self._lingering):
                return
            self._tell_commits()
            for member in busy:
                member.sync(len(member.disk))
            self._deliver(())
            snapshots, self._snapshots = self._snapshots, []
            for arrive in snapshots:
                arrive()
        raise Broken("it never becomes quiet")

    def do_moment(self) -> None:
        """The moment passes in which a commit may ride with the next entries."""
        with self._aloud():
            self._tell_commits()

    def do_cut(self, *names: str) -> None:
        """These hear nobody but one another, and are not heard."""
        others = [name for name in self.members if name not in names]
        self._cut |= {pair for name in names for other in others for pair in ((name, other), (other, name))}
        self._on_their_way = [sent for sent in self._on_their_way if (sent[0], sent[1]) not in self._cut]

    def do_heal(self) -> None:
        self._cut.clear()

    def do_crash(self, *names: str) -> None:
        for name in names:
            self._member(name).crash()

    def do_restart(self, *names: str) -> None:
        for name in names:
            self._member(name).start()

    def do_wipe(self, name: str) -> None:
        """It dies and its disk is lost: the next message makes a process with an empty one."""
        self._member(name).crash()
        del self.members[MemberId(name)]

    def do_log(self) -> None:
        for name, member in self.members.items():
            log = member.core.state.log
            entries = log.between(log.base_index, log.last_index)
            before = f"({log.base_index}) " if log.base_index else ""
            self.say(f"{name}: {before}{' '.join(_entry(entry) for entry in entries)}; committed {log.commit}, applied {member.applied}")

    # Inside

    def _aloud(self) -> "Aloud":
        return Aloud(self)

    def _create(self, name: MemberId, storage: MemoryStorage) -> None:
        self.members[name] = self._make(name, world=self, checks=self.checks, rng=Shortest(), storage=storage)

    def _member(self, name: str) -> SimMember:
        return self.members[MemberId(name)]

    def _tell_commits(self) -> None:
        lingering, self._lingering = sorted(self._lingering), set()
        for name in lingering:
            if self.members[name].is_up:
                self.members[name].step(TellCommit())

    def _deliver(self, links: tuple[str, ...]) -> None:
        due = [sent for sent in self._on_their_way if not links or f"{sent[0]}>{sent[1]}" in links]
        self._on_their_way = [sent for sent in self._on_their_way if sent not in due]
        for sender, to, message in due:
            if to not in self.members:
                self._create(to, MemoryStorage())
            if self.members[to].is_up:
                self.members[to].step(Received(sender=sender, message=message))


class Aloud:
    """For a block, messages and writes are told too."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def __enter__(self) -> None:
        self._script.is_verbose = True

    def __exit__(self, *_: object) -> None:
        self._script.is_verbose = False


def _told(me: MemberId, effect: Effect, *, is_verbose: bool) -> Iterator[str]:
    match effect:
        case RoleChanged(term=term, role=role, leader=leader):
            following = f" of {leader}" if leader and role is RoleName.FOLLOWER else ""
            yield f"{me} is {role.value}{following} in term {term}"
        case Apply(entries=entries):
            yield f"{me} applies {' '.join(map(_entry, entries))}"
        case Refused(why=why, detail=detail):
            yield f"{me} refuses: {detail or why.value}"
        case ReadReady(index=index):
            yield f"{me} may read what entry {index} left"
        case SendSnapshot(to=to, snapshot=snapshot):
            yield f"{me} sends {to} its snapshot of entry {snapshot.index}"
        case Send(to=to, message=message) if is_verbose:
            yield f"{me} to {to}: {_message(message)}"
        case Persist(hard=hard, entries=entries, release=release) if is_verbose:
            written = ([f"term {hard.term} vote {hard.vote}"] if hard else []) + [_entry(entry) for entry in entries]
            yield f"{me} writes {', '.join(written) or 'nothing new'}"
            for send in release:
                yield f"{me} to {send.to}, once that is written: {_message(send.message)}"
        case Proposed():
            pass
        case _:
            pass


def _entry(entry: Entry) -> str:
    match entry:
        case Noop(index=index, term=term):
            return f"{index}:{term}"
        case Command(index=index, term=term, payload=payload):
            return f"{index}:{term}={payload.decode().rstrip('.')}"
        case Configure(index=index, term=term, membership=membership):
            marks = {"voter": "", "learner": "(learner)", "joining": "(joining)"}
            return f"{index}:{term}={{{','.join(member.id + marks[member.standing.value] for member in membership.members)}}}"


def _message(message: Message) -> str:
    words = {name: getattr(message, name) for name in type(message).__struct_fields__}
    if isinstance(message, Append):
        words["entries"] = " ".join(map(_entry, message.entries)) or "none"
    return f"{type(message).__name__} {' '.join(f'{name}={value}' for name, value in words.items())}"


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(Script().play(path.read_text()))


if __name__ == "__main__":
    main()
