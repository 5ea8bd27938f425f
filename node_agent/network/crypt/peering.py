"""Two nodes that seal for one another: how each learns that the other is there now, and not a recording. Pure; time comes in.

**Epoch**: sixteen bytes that a process draws for each peer when it starts. The keys of a direction come from a key of the cluster and both
epochs, so a restart of either end makes all that was recorded before worthless, and no packet number has to be remembered over it.

Epochs are told in greetings. A greeting names its sender's epoch and repeats the receiver's, as heard from it. One that repeats our own is
an answer to us, so its sender lives, and its epoch counts. Any other is answered, and believed no further.

    kind 1 | 0 | sender's number 2 | key 4 | 0 | sender's epoch 16 | receiver's epoch 16, or zeros | HMAC-SHA256 16
"""

import hmac
from collections.abc import Callable

from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.crypt.keys import Cipher, KeyRing, derive
from node_agent.network.crypt.packets import GREETING, HEADER, Dropped, Incoming, Outgoing

EPOCH = 16
_MAC = 16
GREETING_SIZE = HEADER.size + 2 * EPOCH + _MAC
_UNKNOWN = bytes(EPOCH)
_BURST, _RATE = 8.0, 4.0
"""Greetings to one peer: at once, and a second. What asks for them can be forged."""


class End(Value, frozen=True, kw_only=True):
    """One of the two nodes."""

    node_id: Id
    number: int
    address: str


class Peering:
    def __init__(self, me: End, peer: End, ring: KeyRing, *, draw: Callable[[], bytes]) -> None:
        """`draw`: an epoch, never the same twice. Another peering with the same peer draws another."""
        self.me = me
        self.peer = peer
        self._ring = ring
        self._epoch = draw()
        self._theirs = b""
        self._past: set[bytes] = set()
        """Epochs that the peer had: no process goes back to one, a recording would."""
        self._outgoing: Outgoing | None = None
        self._incoming: dict[int, Incoming] = {}
        self._allowance, self._counted_at = _BURST, 0.0

    @property
    def is_met(self) -> bool:
        """Whether the peer is known to be there with a key of ours: nothing can be sealed for it before."""
        return self._outgoing is not None

    def rekey(self, ring: KeyRing) -> None:
        """Another ring, one that follows the one before: what is sealed from now on is sealed with its present key."""
        if ring.present != self._ring.present:
            self._outgoing = None
        self._ring = ring
        self._incoming = {key: incoming for key, incoming in self._incoming.items() if key in ring.keys}
        self._meet()

    def _meet(self) -> None:
        present = self._ring.present
        if self._theirs and present and self._outgoing is None:
            self._outgoing = Outgoing(lambda generation: self._towards_peer(present, generation), number=self.me.number, key=present)

    # -- packets -----------------------------------------------------------------------------------------------------------------------
    def seal(self, frame: memoryview, room: int) -> bytearray:
        """See `Outgoing.seal`. Raises Dropped while the peer has not been met."""
        if self._outgoing is None:
            raise Dropped("peer silent" if self._ring.present else "no key yet")
        return self._outgoing.seal(frame, room)

    def incoming(self, key: int) -> Incoming:
        """What opens the peer's packets under this data key. Raises Dropped."""
        incoming = self._incoming.get(key)
        if incoming is None:
            if key not in self._ring.keys:
                raise Dropped("unknown key")
            if not self._theirs:
                raise Dropped("peer silent")
            incoming = self._incoming[key] = Incoming(lambda generation: self._from_peer(key, generation))
        return incoming

    def _towards_peer(self, key: int, generation: int) -> Cipher:
        epochs = self._epoch + self._theirs
        return Cipher(self._ring.keys[key], sender=self.me.node_id, receiver=self.peer.node_id, epochs=epochs, generation=generation)

    def _from_peer(self, key: int, generation: int) -> Cipher:
        epochs = self._theirs + self._epoch
        return Cipher(self._ring.keys[key], sender=self.peer.node_id, receiver=self.me.node_id, epochs=epochs, generation=generation)

    # -- greetings ---------------------------------------------------------------------------------------------------------------------
    def greeting(self, at: float, *, to: bytes = b"") -> bytes:
        """To the peer, whose epoch may be `to`; empty when it has had enough of them, or there is no key."""
        present = self._ring.present
        self._allowance = min(_BURST, self._allowance + (at - self._counted_at) * _RATE)
        self._counted_at = at
        if not present or self._allowance < 1:
            return b""
        self._allowance -= 1
        said = HEADER.pack(GREETING, 0, self.me.number, present, 0) + self._epoch + (to or self._theirs or _UNKNOWN)
        return said + self._mac(said, present, self.me.node_id, self.peer.node_id)

    def greeted(self, packet: bytes, at: float) -> bytes:
        """The peer's greeting came; returns ours to it, or nothing. Raises Dropped for one that is not the peer's."""
        key = HEADER.unpack_from(packet)[3]
        said, mac = packet[:-_MAC], packet[-_MAC:]
        if key not in self._ring.keys:
            raise Dropped("unknown key")
        if len(packet) != GREETING_SIZE or not hmac.compare_digest(mac, self._mac(said, key, self.peer.node_id, self.me.node_id)):
            raise Dropped("forged")
        theirs, repeated = said[HEADER.size : HEADER.size + EPOCH], said[HEADER.size + EPOCH :]
        if repeated != self._epoch:
            return self.greeting(at, to=theirs)
        if theirs == self._theirs:
            return b""
        if theirs in self._past:
            raise Dropped("replayed")
        if self._theirs:
            self._past.add(self._theirs)
        self._theirs, self._outgoing, self._incoming = theirs, None, {}
        self._meet()
        return self.greeting(at)

    def _mac(self, said: bytes, key: int, sender: Id, receiver: Id) -> bytes:
        secret = derive(self._ring.keys[key], "greetings", sender=sender, receiver=receiver, salt=b"", length=32)
        return hmac.digest(secret, said, "sha256")[:_MAC]
