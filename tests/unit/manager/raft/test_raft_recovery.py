"""A member that goes on alone keeps all that it has, is its own majority at once, and is bound by no older promise."""

from random import Random

from manager.raft.core.core import Core
from manager.raft.core.effects import Apply
from manager.raft.core.entries import Command, Configure, Entry, HardState, Noop, SnapshotMeta, Stored
from manager.raft.core.events import Persisted, Tick
from manager.raft.core.membership import Member, MemberId, Membership
from manager.raft.core.state import Leader
from manager.raft.memory import MemoryStorage
from manager.raft.recovery import go_alone, next_index

ME, ONE, TWO = MemberId("me"), MemberId("one"), MemberId("two")
THREE = Membership(members=tuple(Member(id=one, address=f"{one}:1") for one in (ME, ONE, TWO)))


def log(*entries: Entry, term: int, commit: int) -> MemoryStorage:
    storage = MemoryStorage()
    storage.write(HardState(term=term, vote=ONE), entries, commit)
    storage.sync()
    return storage


def recovered(storage: MemoryStorage, *payloads: bytes) -> Stored:
    addition = go_alone(storage.load(), ME, "me:2", payloads)
    storage.write(addition.hard, addition.entries, addition.commit)
    storage.sync()
    return storage.load()


def applied_when_leading(stored: Stored) -> list[bytes]:
    """What a core on this storage gives to the state machine before it has heard of anybody."""
    core = Core(ME, stored=stored, draw=Random(1).randrange)
    found: list[bytes] = []
    ticket = 0
    for _ in range(100):
        effects = core.step_all([Tick()])
        while effects:
            found += [e.payload for one in effects if isinstance(one, Apply) for e in one.entries if isinstance(e, Command)]
            tickets = [one.ticket for one in effects if hasattr(one, "ticket")]
            ticket = max([ticket, *tickets])
            effects = core.step_all([Persisted(ticket=ticket)]) if tickets else []
    assert isinstance(core.state.role, Leader)
    return found


def test_nothing_is_cut_off_and_all_of_it_counts() -> None:
    first: Entry = Configure(index=1, term=1, membership=THREE)
    storage = log(first, Command(index=2, term=1, payload=b"acknowledged"), Command(index=3, term=4, payload=b"unknown"), term=7, commit=2)
    stored = recovered(storage, b"recovery")
    assert [entry.index for entry in stored.entries] == [1, 2, 3, 4, 5]
    assert stored.commit == 5
    assert applied_when_leading(stored) == [b"acknowledged", b"unknown", b"recovery"]


def test_the_term_is_past_every_promise_and_the_vote_is_free() -> None:
    stored = recovered(log(Configure(index=1, term=1, membership=THREE), Noop(index=2, term=3), term=9, commit=1))
    assert stored.hard == HardState(term=10)
    assert stored.entries[-1] == Configure(index=3, term=10, membership=Membership(members=(Member(id=ME, address="me:2"),)))


def test_it_follows_a_snapshot_that_took_the_whole_log() -> None:
    stored = Stored(
        hard=HardState(term=3), snapshot=SnapshotMeta(index=40, term=3, membership=THREE), base_index=40, base_term=3, commit=40
    )
    assert next_index(stored) == 41
    addition = go_alone(stored, ME, "me:1", [b"x"])
    assert [(entry.index, entry.term) for entry in addition.entries] == [(41, 4), (42, 4)]
    assert addition.commit == 42


def test_doing_it_twice_is_as_good_as_once() -> None:
    storage = log(Configure(index=1, term=1, membership=THREE), term=1, commit=1)
    recovered(storage, b"first")
    stored = recovered(storage, b"second")
    assert [entry.index for entry in stored.entries] == [1, 2, 3, 4, 5]
    assert applied_when_leading(stored) == [b"first", b"second"]
