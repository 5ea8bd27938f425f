"""The control API on the leader: admit, propose, and again if the facts changed in between."""

from collections.abc import Awaitable, Callable

from cluster.api.commands import Command, Outcome
from cluster.api.contracts import Caller
from cluster.api.errors import ShoalError, StaleSnapshot, Unavailable
from manager.controlapi.admission import Admission
from manager.controlapi.admit import admit
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

CatchUp = Callable[[], Awaitable[object]]
"""Returns once the store holds everything that was acknowledged before the call, here or elsewhere."""


async def _at_once() -> None:
    """The store has one writer, and no other leader can be."""


TRIES = 20
"""Each stale try means that somebody else's change went through; a command that loses that often had better be retried by its client."""


class Control:
    """Implements contracts.ControlAPI."""

    def __init__(self, *, store: Store, proposer: Proposer, catch_up: CatchUp = _at_once) -> None:
        self._store = store
        self._proposer = proposer
        self._catch_up = catch_up

    async def execute(self, caller: Caller, request: Command) -> Outcome:  # noqa: ARG002 - the contract's roles decided already
        """Committed on a quorum when this returns. Raises what `admit` refuses, and what the proposer cannot do."""
        stale: StaleSnapshot | None = None
        for _ in range(TRIES):
            now, admission = await self._admit(request)
            if not admission.changes:
                return Outcome(id=admission.id, version=now.version)
            try:
                version = await self._proposer.propose(admission.changes)
            except StaleSnapshot as refused:
                stale = refused
            else:
                return Outcome(id=admission.id, version=version, warnings=admission.warnings)
        raise Unavailable(f"the swarm changes faster than this request can be decided on ({stale}); try again")

    async def _admit(self, request: Command) -> tuple[Snapshot, Admission]:
        """A refusal never meets the log, so it needs what a read needs: a leader that was replaced unawares knows too little."""
        try:
            return (now := self._store.snapshot), admit(now, request)
        except ShoalError:
            await self._catch_up()
            return (now := self._store.snapshot), admit(now, request)
