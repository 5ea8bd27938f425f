"""Keeps the node's certificate fresh: renewed at a random moment of its second half, or at once when the managers want another role."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import ManagerAddr
from cluster.api.contracts import CertificateRequest, NodeCA
from cluster.api.errors import ShoalError
from cluster.api.specs import SECOND
from cluster.rpc.identity import CertificateFacts, Identity, facts, new_csr, new_key
from cluster.rpc.pool import Remotes
from node_agent.manager_link import ask_leader
from node_agent.state import StateFolder

log = logging.getLogger(__name__)


def due_at(certificate: CertificateFacts, draw: float) -> float:
    """When to renew (Unix seconds), at the place `draw` (0..1) of the window: nodes that joined together don't renew together."""
    earliest, latest = certificate.renewal_window()
    return earliest + (latest - earliest) * draw


async def renewed(remotes: Remotes, managers: Sequence[ManagerAddr]) -> Identity:
    """A new key and the certificate that the leader of these managers issues for it."""
    key = new_key()
    issued = await ask_leader(remotes, managers, NodeCA.renew, CertificateRequest(csr=new_csr(key)), timeout=10)
    return Identity(key=key, certificate=issued.certificate, roots=issued.roots)


class Renewal:
    def __init__(
        self,
        *,
        identity: Latest[Identity],
        remotes: Remotes,
        managers: Callable[[], Sequence[ManagerAddr]],
        clock: Clock,
        rng: Random,
        state: StateFolder,
    ) -> None:
        self._identity = identity
        self._remotes = remotes
        self._managers = managers
        self._clock = clock
        self._rng = rng
        self._state = state
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """The next renewal is now."""
        self._hurry.set()

    async def run(self) -> None:
        backoff = Backoff(first=0.2, cap=60.0, rng=self._rng)
        while True:
            await first_of(self._wait_until_due, self._hurry.wait)
            self._hurry.clear()
            try:
                await self._renew()
            except ShoalError as failed:
                log.warning("the node's certificate could not be renewed: %s", failed)
                await self._clock.sleep(backoff.next())
                self._hurry.set()
            else:
                backoff.reset()

    async def _wait_until_due(self) -> None:
        due = due_at(facts(self._identity.value.certificate), self._rng.random())
        while (left := due - self._clock.wall() / SECOND) > 0:
            await self._clock.sleep(min(left, 3600))

    async def _renew(self) -> None:
        fresh = await renewed(self._remotes, self._managers())
        self._state.save_identity(fresh)
        self._identity.set(fresh)
        log.info("certificate renewed as %s", facts(fresh.certificate).role)
