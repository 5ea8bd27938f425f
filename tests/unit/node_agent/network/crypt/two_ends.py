"""Two nodes that seal for one another, joined by whatever a test does with what they send."""

from itertools import count

from cluster.api.endpoint import DataKey
from node_agent.network.crypt.peering import EPOCH, End, Peering
from node_agent.network.crypt.peers import Peers

ROOM = 100
_epochs = count(1)


def draw() -> bytes:
    return next(_epochs).to_bytes(EPOCH, "big")


def key(number: int, byte: int | None = None) -> DataKey:
    return DataKey(id=number, key=bytes([number if byte is None else byte]) * 32)


class Node:
    def __init__(self, number: int, keys: tuple[DataKey, ...]) -> None:
        self.end = End(node_id=f"node{number}", number=number, address=f"10.0.0.{number}")
        self.keys = keys
        self.others: list[End] = []
        self.restart()

    def restart(self) -> None:
        """The process is another one: it was told everything, and remembers nothing."""
        self.peers = Peers(draw=draw)
        self.tell()

    def tell(self, *keys: DataKey) -> None:
        self.keys = keys or self.keys
        self.peers.hold(self.end, self.others, self.keys)

    def to(self, other: "Node") -> Peering:
        return self.peers.by_address[other.end.address]

    def greets(self, other: "Node", at: float = 0) -> bytes:
        return self.to(other).greeting(at)

    def takes(self, datagrams: bytes, size: int | None = None, at: float = 0) -> tuple[list[bytes], list[bytes]]:
        """(frames, greetings it answers with)"""
        frames, answers = self.peers.open(memoryview(datagrams), size or len(datagrams), at)
        return frames, [greeting for greeting, _ in answers]

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.peers.dropped)


def two(*keys: DataKey) -> tuple[Node, Node]:
    keys = keys or (key(1), key(2))
    one, other = Node(1, keys), Node(2, keys)
    one.others, other.others = [other.end], [one.end]
    one.tell()
    other.tell()
    return one, other


def meet(one: Node, other: Node, at: float = 0) -> None:
    """Greetings go to and fro until neither has anything to add."""
    waiting = [(other, one.greets(other, at)), (one, other.greets(one, at))]
    for _ in range(20):
        if not waiting:
            return
        node, greeting = waiting.pop(0)
        waiting += [(one if node is other else other, answer) for answer in node.takes(greeting, at=at)[1]]
    raise AssertionError("they greet one another for ever")


def met(*keys: DataKey) -> tuple[Node, Node]:
    one, other = two(*keys)
    meet(one, other)
    return one, other
