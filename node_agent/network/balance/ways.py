"""From a request to the targets that it may be carried on to. Holds the plan, and who did not answer lately."""

from collections.abc import Iterator, Mapping
from random import Random

from cluster.aio.clock import Clock
from node_agent.network.balance.choice import places
from node_agent.network.balance.header import Request, pack
from node_agent.network.balance.plan import BalancePlan
from node_agent.network.ingress import Port, Published
from node_agent.network.relay import Target

SILENT_SECONDS = 5.0
"""For how long one that did not answer comes after the others."""


class Ways:
    def __init__(self, clock: Clock, rng: Random) -> None:
        self._clock = clock
        self._rng = rng
        self._published: Mapping[Port, Published] = {}
        self._silent: dict[tuple[str, int], float] = {}
        """Until when."""
        self.plan = BalancePlan()

    def take(self, plan: BalancePlan) -> None:
        self.plan = plan
        self._published = {port.key: port for port in plan.published}

    def lost(self, target: Target) -> None:
        """It did not answer."""
        now = self._clock.monotonic()
        self._silent = {place: until for place, until in self._silent.items() if until > now}
        self._silent[target[:2]] = now + SILENT_SECONDS

    def targets(self, request: Request) -> list[Target]:
        """The first is the choice, the others are for when it does not answer."""
        port = self._published.get(request.port)
        if port is None:
            return []
        now = self._clock.monotonic()
        return sorted(self._all(port, request), key=lambda target: self._silent.get(target[:2], 0.0) > now)

    def _all(self, port: Published, request: Request) -> Iterator[Target]:
        for place in places(port, request.client, arriving=request.arriving, rng=self._rng):
            if place.is_here:
                yield Target(place.address, port.target)
            elif place.address in self.plan.linked:
                yield Target(place.address, port.port, source=self.plan.me)
            else:
                yield Target(place.address, self.plan.port, source=self.plan.me, greeting=pack(request))

    def asked(self, port: Port, client: str, client_port: int) -> Request:
        """Of one who came to a published port. A node whose kernel balances has chosen this node: then it is for a task of ours."""
        return Request(port, client, client_port, arriving=client in self.plan.linked)

    def relayed(self, request: Request, sender: str) -> Request:
        """Of what came where nodes relay to. Raises ValueError when it was no node that sent it."""
        if sender not in self.plan.relays:
            raise ValueError(f"{sender} is no node that relays")
        return request
