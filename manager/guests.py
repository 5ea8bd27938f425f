"""A node's containers that join attachable networks: its requests as commands, and what came of them. Runs on the leader."""

from cluster.api.commands import AttachGuest, DetachGuest
from cluster.api.contracts import Attached, AttachRequest, Caller, DetachRequest, Taken
from cluster.api.errors import Unavailable
from manager.controlapi.control import Control
from manager.dispatcher.assign import overlay
from manager.store.store import Store


class GuestDesk:
    """Implements contracts.Guests."""

    def __init__(self, *, control: Control, store: Store) -> None:
        self._control = control
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
        await self._control.execute(caller, command)
        for network in self._store.snapshot.networks.values():
            for guest in network.guests:
                if guest.id == request.id:
                    return Attached(network=overlay(network), guest=guest)
        raise Unavailable(f"network {request.network} changed in the same moment: try again")

    async def detach(self, caller: Caller, request: DetachRequest) -> Taken:
        await self._control.execute(caller, DetachGuest(id=request.id, node_id=caller.node_id))
        return Taken()
