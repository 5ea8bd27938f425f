"""The control API on the leader: admit, propose, and again if the facts changed in between."""

from cluster.api.commands import Command, Outcome
from cluster.api.contracts import Caller
from cluster.api.errors import StaleSnapshot, Unavailable
from manager.controlapi.admit import admit
from manager.store.proposer import Proposer
from manager.store.store import Store

TRIES = 20
"""Each stale try means that somebody else's change went through; a command that loses that often had better be retried by its client."""


class Control:
    """Implements contracts.ControlAPI."""

    def __init__(self, *, store: Store, proposer: Proposer) -> None:
        self._store = store
        self._proposer = proposer

    async def execute(self, caller: Caller, request: Command) -> Outcome:  # noqa: ARG002 - the contract's roles decided already
        """Committed on a quorum when this returns. Raises what `admit` refuses, and what the proposer cannot do."""
        stale: StaleSnapshot | None = None
        for _ in range(TRIES):
            now = self._store.snapshot
            admission = admit(now, request)
            if not admission.changes:
                return Outcome(id=admission.id, version=now.version)
            try:
                version = await self._proposer.propose(admission.changes)
            except StaleSnapshot as refused:
                stale = refused
            else:
                return Outcome(id=admission.id, version=version, warnings=admission.warnings)
        raise Unavailable(f"the swarm changes faster than this request can be decided on ({stale}); try again")
