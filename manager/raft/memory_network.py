"""The `Transport` without a network: for tests, simulations and single-process clusters. Frames take a moment and may be cut off."""

import asyncio
from collections.abc import Callable, Sequence

from manager.raft.core.membership import MemberId

Receive = Callable[[MemberId, bytes], None]


class MemoryNetwork:
    """What connects the members of one process."""

    def __init__(self, *, seconds: float = 0.001, loses: Callable[[MemberId, MemberId, bytes], bool] = lambda *_: False) -> None:
        self._seconds = seconds
        self._loses = loses
        self._receivers: dict[str, Receive] = {}
        self._cut: set[MemberId] = set()
        self.sent_bytes = 0

    def listen(self, address: str, receive: Receive) -> None:
        self._receivers[address] = receive

    def close(self, address: str) -> None:
        self._receivers.pop(address, None)

    def transport_of(self, member: MemberId) -> "MemoryTransport":
        return MemoryTransport(self, member)

    def cut(self, *members: MemberId) -> None:
        """These are alone from now on."""
        self._cut |= set(members)

    def heal(self) -> None:
        self._cut.clear()

    def carry(self, sender: MemberId, to: MemberId, address: str, frame: bytes) -> None:
        if sender in self._cut or to in self._cut or self._loses(sender, to, frame):
            return
        self.sent_bytes += len(frame)
        asyncio.get_running_loop().call_later(self._seconds, self._deliver, sender, to, address, frame)

    def _deliver(self, sender: MemberId, to: MemberId, address: str, frame: bytes) -> None:
        receive = self._receivers.get(address)
        if receive is not None and to not in self._cut:
            receive(sender, frame)


class MemoryTransport:
    """One member's way out."""

    def __init__(self, network: MemoryNetwork, me: MemberId) -> None:
        self._network = network
        self._me = me

    def send(self, to: MemberId, address: str, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._network.carry(self._me, to, address, frame)
