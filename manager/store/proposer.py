"""The port through which every loop and command changes the store: Raft behind it in a daemon, `memory` in tests and benches."""

from collections.abc import Sequence
from typing import Protocol

from cluster.api.changes import Change


class Proposer(Protocol):
    async def propose(self, changes: Sequence[Change]) -> int:
        """Have the changes agreed on and applied here, all or none; returns the index at which they are.

        Raises StaleSnapshot if apply refused them (look again), NoLeader or Unavailable if they could not be agreed on; after those
        two it is unknown whether they still will be.
        """
        ...
