"""Containers of this node that joined attachable networks by themselves: from the managers' consent until the container is gone.

Level-triggered: what the engine has on our bridges decides who is a guest still, at every event and every ten seconds. So a restarted
container is programmed anew, and one that went while the daemon was away gives its address back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background, first_of
from cluster.api.contracts import Attached, AttachRequest, DetachRequest, Guests
from cluster.api.errors import FailedPrecondition, ShoalError
from cluster.api.ids import DrawId, Id
from node_agent.network.data_plane import DataPlane
from node_agent.network.naming import engine_network_of
from node_agent.network.netns import identity, of_pid
from node_agent.network.ports import EngineNetworks, Member
from node_agent.network.view import Known, LocalTask
from worker.ports import EngineError, EngineGone, SandboxError

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0
CREATED_WITHIN = 60.0
"""Seconds that the engine has to create a container whose address was given."""

Ask = Callable[[Any, Any], Awaitable[Any]]
"""Ask the leader, by a method of a contract and a request."""


class GuestHouse:
    """`run` it. `invite` and `release` are for the proxy."""

    def __init__(self, plane: DataPlane, engine: EngineNetworks, *, node_id: Id, ask: Ask, clock: Clock, draw_id: DrawId) -> None:
        self._plane = plane
        self._engine = engine
        self._node_id = node_id
        self._ask = ask
        self._clock = clock
        self._draw_id = draw_id
        self._invited: dict[Id, float] = {}
        """When those were invited whose container is not there yet."""
        self._wakes = Latest(0)
        self._turn = asyncio.Lock()

    async def invite(
        self, network: str, *, name: str, aliases: tuple[str, ...], address: str, upstreams: tuple[str, ...]
    ) -> tuple[Attached, str]:
        """A container is about to be created on the network; its address, and where it shall ask for names. Raises ShoalError."""
        request = AttachRequest(id=self._draw_id(), network=network, name=name, aliases=aliases, address=address)
        self._invited[request.id] = self._clock.monotonic()
        try:
            attached: Attached = await self._ask(Guests.attach, request)
            local = LocalTask(
                task_id=request.id,
                service_id="",
                container_name=name,
                addresses={attached.network.network_id: attached.guest.address},
                upstreams=upstreams,
                guest=True,
            )
            return attached, await self._plane.welcome(local, [attached.network])
        except (SandboxError, EngineError) as refused:
            await self.release(request.id)
            raise FailedPrecondition(f"network {network} cannot be set up on this node: {refused}") from refused
        except ShoalError:
            self._invited.pop(request.id, None)
            raise

    async def release(self, guest_id: Id) -> None:
        """It did not come, or is gone."""
        self._invited.pop(guest_id, None)
        await self._plane.remove(guest_id)
        await self._ask(Guests.detach, DetachRequest(id=guest_id))

    async def run(self) -> None:
        async with background(self._listen):
            while True:
                revision = self._wakes.revision
                await self.look()
                await first_of(lambda: self._clock.sleep(LOOK_EVERY), lambda: self._wakes.wait_change(revision))  # noqa: B023

    async def _listen(self) -> None:
        """Look again at whatever the engine says happened."""
        while True:
            try:
                async for _ in self._engine.changes():
                    if self._of_this_node():
                        self._wakes.set(self._wakes.value + 1)
            except EngineGone as gone:
                log.debug("containers on attachable networks: %s", gone)
            await self._clock.sleep(1.0)

    async def look(self) -> None:
        """Know by the end who is there now. One that was never seen is waited for; one that was, and is not there, has left."""
        async with self._turn:
            try:
                await self._look()
            except (ShoalError, EngineError, SandboxError) as problem:
                log.warning("containers on attachable networks: %s", problem)

    async def _look(self) -> None:
        guests = self._of_this_node()
        if not guests:
            return
        networks = {engine_network_of(key) for guest in guests.values() for key in guest.addresses}
        members = await self._engine.list_members(networks)
        seated = seats(guests, members)
        now = self._clock.monotonic()
        for guest_id in guests.keys() - seated.keys():
            if now - self._invited.setdefault(guest_id, now - CREATED_WITHIN) >= CREATED_WITHIN:
                await self.release(guest_id)
        for guest_id in seated:
            self._invited.pop(guest_id, None)
        left = {key: guest for key, guest in self._of_this_node().items() if key in self._invited}
        await self._plane.seat({**left, **seated})

    def _of_this_node(self) -> Mapping[Id, LocalTask]:
        """Those that this daemon or the one before it invited, and those that only the managers remember."""
        return guests_here(self._plane.known, self._node_id)


def guests_here(known: Known, node_id: Id) -> dict[Id, LocalTask]:
    """By id. Pure."""
    told = {
        guest.id: LocalTask(
            task_id=guest.id, service_id="", container_name=guest.name, addresses={network.network_id: guest.address}, guest=True
        )
        for network in known.view.networks.values()
        for guest in network.guests
        if guest.node_id == node_id
    }
    return {**told, **{key: task for key, task in known.tasks.items() if task.guest}}


def seats(guests: Mapping[Id, LocalTask], members: Sequence[Member]) -> dict[Id, LocalTask]:
    """Each guest whose container is there. One container on several networks has one table: its first guest stands for all. Pure."""
    found: dict[Id, LocalTask] = {}
    for member in members:
        mine = [
            guest
            for _, guest in sorted(guests.items())
            if any(member.addresses.get(engine_network_of(key)) == address for key, address in _own(guest))
        ]
        addresses = {key: address for guest in mine for key, address in _own(guest)}
        for place, guest in enumerate(mine):
            pid = member.pid if place == 0 else 0
            found[guest.task_id] = replace(
                guest,
                addresses=addresses if place == 0 else dict(_own(guest)),
                pid=pid,
                namespace=identity(of_pid(pid)) if pid else 0,
            )
    return found


def _own(guest: LocalTask) -> Sequence[tuple[Id, str]]:
    """The network that it was invited to; others came with its container."""
    return list(guest.addresses.items())[:1]
