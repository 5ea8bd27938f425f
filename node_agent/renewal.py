"""Keeps the node's certificate fresh: renewed at a random moment of its second half, or at once when the managers want another role."""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Sequence
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


def expired(certificate: str, *, now: int) -> str:
    """What to do about a certificate that is past its end, with which no manager talks to us any more; empty for a good one."""
    end = facts(certificate).not_after
    if now / SECOND < end:
        return ""
    moment = datetime.datetime.fromtimestamp(end, datetime.UTC).isoformat(timespec="seconds")
    return f"the certificate of this node ended at {moment} and cannot be renewed any more: leave the swarm (by force) and join it again"


class Renewal:
    """`renew` asks the managers for a new certificate; raises ShoalError."""

    def __init__(
        self, *, identity: Latest[Identity], renew: Callable[[], Awaitable[Identity]], clock: Clock, rng: Random, state: StateFolder
    ) -> None:
        self._identity = identity
        self._ask = renew
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
            except (ShoalError, OSError) as failed:  # or the disk is full: the certificate that is there serves until it ends
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
        fresh = await self._ask()
        self._state.save_identity(fresh)
        self._identity.set(fresh)
        log.info("certificate renewed as %s", facts(fresh.certificate).role)
