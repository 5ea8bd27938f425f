"""The peerings of this node, and which of them a packet or an address belongs to. Pure; the socket and the devices are `tunnel`'s."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cluster.api.endpoint import DataKey
from node_agent.network.crypt.keys import KeyRing
from node_agent.network.crypt.packets import FRAME, GREETING, HEADER, OVERHEAD, Dropped
from node_agent.network.crypt.peering import End, Peering


class Peers:
    def __init__(self, *, draw: Callable[[], bytes]) -> None:
        self._draw = draw
        self._ring = KeyRing()
        self._me: End | None = None
        self._by_number: dict[int, Peering] = {}
        self.by_address: dict[str, Peering] = {}
        self.dropped: Counter[str] = Counter()

    @property
    def keys(self) -> tuple[int, ...]:
        return tuple(self._ring.keys)

    def hold(self, me: End, peers: Iterable[End], keys: Sequence[DataKey] | None) -> None:
        """These nodes from now on, and these keys; None for the same keys as before. A node that is as before goes on as it was."""
        ring = self._ring if keys is None else KeyRing(keys)
        before = self._by_number if me == self._me and ring.follows(self._ring) else {}
        self._me, self._ring = me, ring
        self._by_number = {}
        for peer in peers:
            known = before.get(peer.number)
            if known is None or known.peer != peer:
                known = Peering(me, peer, ring, draw=self._draw)
            known.rekey(ring)
            self._by_number[peer.number] = known
        self.by_address = {peering.peer.address: peering for peering in self._by_number.values()}

    def open(self, datagrams: memoryview, size: int, at: float) -> tuple[list[bytes], list[tuple[bytes, Peering]]]:
        """The frames in what came at once, each datagram of `size` but the last; and greetings to send."""
        frames: list[bytes] = []
        answers: list[tuple[bytes, Peering]] = []
        for start in range(0, len(datagrams), size):
            packet = datagrams[start : start + size]
            try:
                if len(packet) < OVERHEAD:
                    raise Dropped("not ours")
                kind, place, sender, key, number = HEADER.unpack_from(packet)
                peering = self._by_number.get(sender)
                if peering is None:
                    raise Dropped("unknown sender")
                if kind == FRAME:
                    if frame := peering.incoming(key).open(packet, place, number):
                        frames.append(frame)
                elif kind == GREETING:
                    if answer := peering.greeted(bytes(packet), at):
                        answers.append((answer, peering))
                else:
                    raise Dropped("not ours")
            except Dropped as why:
                self.dropped[str(why)] += 1
                answers += self._in_doubt(packet, str(why), at)
        return frames, answers

    def _in_doubt(self, packet: memoryview, why: str, at: float) -> list[tuple[bytes, Peering]]:
        """A frame that cannot be opened may be from before a restart, the peer's or ours: a greeting lets both know."""
        if why in ("not ours", "unknown sender", "replayed") or packet[0] != FRAME:
            return []
        peering = self._by_number[HEADER.unpack_from(packet)[2]]
        greeting = peering.greeting(at)
        return [(greeting, peering)] if greeting else []

    def greetings(self, wanted: Iterable[str], at: float) -> list[tuple[bytes, Peering]]:
        """To those at these addresses that were not met yet."""
        unmet = [self.by_address[address] for address in wanted if address in self.by_address and not self.by_address[address].is_met]
        return [(greeting, peering) for peering in unmet if (greeting := peering.greeting(at))]
