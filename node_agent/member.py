"""A manager sees to it that it is one of Raft's members, at the address that it has now: it asks the leader, which is safe to ask twice."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from cluster.aio.clock import Clock
from cluster.aio.supervise import first_of
from cluster.api.contracts import MemberRequest
from cluster.api.errors import ShoalError
from manager.raft.driver import Raft

log = logging.getLogger(__name__)

_PAUSE = 1.0
SILENCE = 4.0
"""Seconds without a leader after which what one's own log says of the members is not believed any more."""


class Member:
    """Asks while its own log does not name it, or names another address.

    Also when it hears no leader: one that was counted out while it was away hears of that from nobody, since members speak to members only,
    and would wait for ever if it was made a manager again meanwhile.
    """

    def __init__(
        self, raft: Raft, *, address: str, ask: Callable[[MemberRequest], Awaitable[object]], clock: Clock, feature_level: int = 1
    ) -> None:
        self._raft = raft
        self._address = address
        self._ask = ask
        self._clock = clock
        self._level = feature_level

    async def run(self) -> None:
        while True:
            await self._until_in_doubt()
            request = MemberRequest(addr=self._address, last_index=self._raft.status().last_index, feature_level=self._level)
            try:
                await self._ask(request)
            except ShoalError as failed:
                log.warning("not known to be one of the managers: %s", failed)
            await self._clock.sleep(_PAUSE)

    async def _until_in_doubt(self) -> None:
        membership, leadership = self._raft.membership, self._raft.leadership
        heard = self._clock.monotonic()
        while True:
            changes = partial(membership.wait_change, membership.revision), partial(leadership.wait_change, leadership.revision)
            known = membership.value.find(self._raft.me)
            if leadership.value.leader is not None:
                heard = self._clock.monotonic()
            patience = heard + SILENCE - self._clock.monotonic()
            if known is None or known.address != self._address or patience <= 0:
                return
            await first_of(*changes, partial(self._clock.sleep, patience))
