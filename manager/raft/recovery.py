"""Going on alone: what a member that has lost its peers for good adds to its log, after which it is the only member. Pure.

Nothing of the log is cut off. An entry at its end may have been committed by members that are gone and acknowledged to a client, so
all of it counts as committed from here on; one that never was is a proposal whose outcome its client did not learn, and may happen.
What the others may still hold beyond this log is lost: that is the price of going on without a quorum, and the operator's decision.
"""

from collections.abc import Sequence

import msgspec

from manager.raft.core.entries import Command, Configure, Entry, HardState, Stored
from manager.raft.core.membership import Member, MemberId, Membership


class Addition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What to write, durably and at once: `Storage.write(hard, entries, commit)`, then `sync`."""

    hard: HardState
    entries: tuple[Entry, ...]
    commit: int


def next_index(stored: Stored) -> int:
    """Where the addition begins: after all that is there."""
    return stored.base_index + len(stored.entries) + 1


def go_alone(stored: Stored, me: MemberId, address: str, payloads: Sequence[bytes] = ()) -> Addition:
    """A membership of `me` alone, then the payloads, in a term that no member can have seen: no older promise binds it."""
    last_term = stored.entries[-1].term if stored.entries else stored.base_term
    term = max(stored.hard.term, last_term, stored.snapshot.term) + 1
    first = next_index(stored)
    alone: Entry = Configure(index=first, term=term, membership=Membership(members=(Member(id=me, address=address),)))
    commands = [Command(index=first + number, term=term, payload=payload) for number, payload in enumerate(payloads, start=1)]
    return Addition(hard=HardState(term=term), entries=(alone, *commands), commit=first + len(commands))
