"""A node's containers that join attachable networks: its requests as commands, and what came of them. Runs on the leader."""

from cluster.aio.clock import Clock
from cluster.aio.supervise import first_of
from cluster.api.commands import AttachGuest, DetachGuest
from cluster.api.contracts import Attached, AttachRequest, Caller, DetachRequest, Taken
from cluster.api.errors import Unavailable
from manager.controlapi.control import Control
from manager.controlapi.guests import is_unequipped
from manager.dispatcher.assign import overlay
from manager.store.store import Store

EQUIPPED_WITHIN = 5.0
"""Seconds that a network which was just made has to get its subnet: an allocator's round takes milliseconds."""


class GuestDesk:
    """Implements contracts.Guests."""

    def __init__(self, *, control: Control, store: Store, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._store = store

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        command = AttachGuest(
            id=request.id,
            node_id=caller.node_id,
            network=request.network,
            name=request.name,
            aliases=request.aliases,
            address=request.address,
        )
        await first_of(lambda: self._wait_equipped(request.network), lambda: self._clock.sleep(EQUIPPED_WITHIN))
        await self._control.execute(caller, command)
        for network in self._store.snapshot.networks.values():
            for guest in network.guests:
                if guest.id == request.id:
                    return Attached(network=overlay(network), guest=guest)
        raise Unavailable(f"network {request.network} changed in the same moment: try again")

    async def _wait_equipped(self, network: str) -> None:
        while is_unequipped(self._store.snapshot, network):
            await self._store.latest.wait_change(self._store.latest.revision)

    async def detach(self, caller: Caller, request: DetachRequest) -> Taken:
        await self._control.execute(caller, DetachGuest(id=request.id, node_id=caller.node_id))
        return Taken()
