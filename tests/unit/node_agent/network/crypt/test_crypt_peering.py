"""How two nodes meet, and what restarts, rotations, losses and recordings do to it: nothing that is worth anything to a listener."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node_agent.network.crypt.packets import HEADER, OVERHEAD
from tests.unit.node_agent.network.crypt.two_ends import ROOM, Node, key, meet, met, two


def sends(sender: Node, receiver: Node, frame: bytes) -> bytes:
    return bytes(sender.to(receiver).seal(memoryview(frame), ROOM))


def test_two_nodes_meet_whoever_greets_first_and_then_speak() -> None:
    one, other = two()
    assert not one.to(other).is_met
    meet(one, other)
    assert one.to(other).is_met
    assert other.to(one).is_met
    assert other.takes(sends(one, other, b"hello")) == ([b"hello"], [])
    assert one.takes(sends(other, one, b"hello")) == ([b"hello"], [])


def test_several_packets_that_came_at_once_are_taken_apart() -> None:
    one, other = met()
    frame = bytes(range(256)) * 3
    assert other.takes(sends(one, other, frame), ROOM + OVERHEAD)[0] == [frame]


def test_a_recorded_greeting_brings_nobody_back() -> None:
    """Whoever holds a recording of a former process may not make a node seal for that one again."""
    one, other = two()
    greeting = one.greets(other)
    (answer,) = other.takes(greeting)[1]
    (recorded,) = one.takes(answer)[1]
    other.takes(recorded)
    one.restart()
    meet(one, other, at=10)
    before = sends(other, one, b"to the present process")
    other.takes(recorded, at=20)
    assert other.dropped["replayed"] == 1
    assert one.takes(before)[0] == [b"to the present process"]
    assert one.takes(sends(other, one, b"still"))[0] == [b"still"]


def test_a_greeting_that_does_not_repeat_our_epoch_is_answered_and_not_believed() -> None:
    one, other = two()
    (answer,) = other.takes(one.greets(other))[1]
    assert not other.to(one).is_met
    one.takes(answer)
    assert one.to(other).is_met


def test_a_restart_of_either_end_makes_what_was_recorded_worthless() -> None:
    one, other = met()
    recorded = sends(one, other, b"an order to pay")
    assert other.takes(recorded)[0] == [b"an order to pay"]
    other.restart()
    assert other.takes(recorded, at=1)[0] == []
    meet(one, other, at=2)
    assert other.takes(recorded, at=3)[0] == []
    one.restart()
    meet(one, other, at=4)
    assert other.takes(recorded, at=5)[0] == []
    assert other.takes(sends(one, other, b"an order to pay"), at=6)[0] == [b"an order to pay"]


def test_a_packet_from_before_our_restart_is_answered_by_a_greeting_so_that_the_sender_knows() -> None:
    one, other = met()
    other.restart()
    frames, answers = other.takes(sends(one, other, b"lost"), at=1)
    assert frames == []
    while answers:
        answers = other.takes(one.takes(answers[0], at=1)[1][0], at=1)[1]
        if answers:
            answers = [greeting for greeting in one.takes(answers[0], at=1)[1] if other.takes(greeting, at=1)[1]]
    assert other.takes(sends(one, other, b"heard"), at=2)[0] == [b"heard"]


def test_a_flood_of_forgeries_makes_a_node_send_a_few_greetings_and_no_more() -> None:
    one, other = met()
    packet = bytearray(sends(one, other, b"x"))
    packet[-1] ^= 1
    forged = [bytes(HEADER.pack(*HEADER.unpack_from(packet)[:4], number)) + packet[HEADER.size :] for number in range(10, 1010)]
    assert sum(len(other.takes(one_of_them, at=1)[1]) for one_of_them in forged) <= 8
    assert other.dropped == {"forged": 1000}
    assert other.takes(sends(one, other, b"genuine"), at=1)[0] == [b"genuine"]


def test_what_is_not_from_a_node_is_counted_and_dropped() -> None:
    one, other = met()
    stranger = bytes(HEADER.pack(1, 0x80, 9, 1, 1)) + bytes(40)
    odd = bytes(HEADER.pack(9, 0x80, 1, 1, 1)) + bytes(40)
    for packet in (stranger, odd, b"short", sends(one, other, b"x")[:20]):
        assert other.takes(packet) == ([], [])
    assert other.dropped == {"unknown sender": 1, "not ours": 3}


# -- keys --------------------------------------------------------------------------------------------------------------------------------
def test_through_a_rotation_both_hear_one_another_whoever_is_told_first() -> None:
    one, other = met(key(1), key(2))
    for number in range(3, 9):
        before = (sends(one, other, b"before"), sends(other, one, b"before"))
        ring = (*one.keys, key(number))[-3:]
        first, second = (one, other) if number % 2 else (other, one)
        first.tell(*ring)
        assert second.takes(sends(first, second, b"by the new ring"))[0] == [b"by the new ring"]
        assert first.takes(sends(second, first, b"by the old ring"))[0] == [b"by the old ring"]
        second.tell(*ring)
        assert other.takes(before[0])[0] == [b"before"], "what was under way is still opened"
        assert one.takes(before[1])[0] == [b"before"]
    assert not one.dropped
    assert not other.dropped


def test_without_keys_nothing_is_sealed() -> None:
    one, other = two()
    meet(one, other)
    one.peers.hold(one.end, one.others, ())
    assert not one.to(other).is_met
    assert one.greets(other, at=100) == b""


def test_a_peer_without_a_key_in_common_is_never_met() -> None:
    one, other = two()
    other.tell(key(5), key(6))
    meet(one, other)
    assert not one.to(other).is_met
    assert one.dropped == {"unknown key": 1}


def test_the_same_id_with_another_key_is_another_key() -> None:
    one, other = two(key(1), key(2))
    other.tell(key(1, byte=9), key(2, byte=9))
    meet(one, other)
    assert not one.to(other).is_met
    assert one.dropped == {"forged": 1}


def test_a_ring_from_a_backup_brings_no_packet_number_back() -> None:
    """The numbers used under a key that was dropped are forgotten with it: the key comes back to another epoch."""
    one, other = met(key(1), key(2), key(3))
    before = sends(one, other, b"the same frame")
    for ring in ((key(2), key(3), key(4)), (key(3), key(4), key(5)), (key(1), key(2), key(3))):
        for node in (one, other):
            node.tell(*ring)
    assert not one.to(other).is_met
    meet(one, other, at=100)
    after = sends(one, other, b"the same frame")
    assert before[: HEADER.size] == after[: HEADER.size]
    assert before[HEADER.size :] != after[HEADER.size :]


# -- nothing is ever sealed twice under one number -----------------------------------------------------------------------------------------
class Life(RuleBasedStateMachine):
    """Restarts, rotations, a ring from a backup, and a listener that keeps every packet and sends it again whenever it likes.

    Every frame is the same, so two packets of one key and number would be the same bytes: there must never be two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = two(key(1), key(2))
        self.at = 0.0
        self.newest = 2
        self.wire: list[tuple[Node, bytes]] = []
        self.sealed: Counter[bytes] = Counter()
        self.taken = 0

    def _node(self, first: bool) -> tuple[Node, Node]:
        return (self.one, self.other) if first else (self.other, self.one)

    @rule(first=st.booleans())
    def greet(self, first: bool) -> None:
        node, peer = self._node(first)
        self.at += 1
        if greeting := node.greets(peer, self.at):
            self.wire.append((peer, greeting))

    @rule(first=st.booleans())
    def send(self, first: bool) -> None:
        node, peer = self._node(first)
        if node.to(peer).is_met:
            packet = sends(node, peer, b"the same frame each time")
            self.sealed[packet] += 1
            self.wire.append((peer, packet))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def arrive_maybe_again(self, data: st.DataObject) -> None:
        peer, packet = data.draw(st.sampled_from(self.wire))
        frames, answers = peer.takes(packet, at=self.at)
        self.taken += len(frames)
        self.wire += [(self._node(peer is not self.one)[0], answer) for answer in answers]

    @rule(first=st.booleans())
    def restart(self, first: bool) -> None:
        self._node(first)[0].restart()

    @rule()
    def rotate(self) -> None:
        self.newest += 1
        for node in (self.one, self.other):
            node.tell(*(*node.keys, key(self.newest))[-3:])

    @rule(first=st.booleans(), number=st.integers(1, 6))
    def be_told_a_ring_of_former_times(self, first: bool, number: int) -> None:
        node, _ = self._node(first)
        node.tell(*(key(one) for one in range(number, number + 3)))
        self.newest = max(self.newest, number + 2)

    @invariant()
    def no_number_is_used_twice_under_a_key(self) -> None:
        assert all(times == 1 for times in self.sealed.values())

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        assert self.taken <= sum(self.sealed.values())

    def teardown(self) -> None:
        """Whatever happened: told the same ring, they meet."""
        for node in (self.one, self.other):
            node.tell(*(key(one) for one in range(20, 23)))
        meet(self.one, self.other, at=self.at + 100)
        assert self.other.takes(sends(self.one, self.other, b"after all"), at=self.at + 100)[0] == [b"after all"]


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


@given(st.binary(max_size=200))
def test_whatever_comes_is_dropped_quietly(packet: bytes) -> None:
    one, other = met()
    frames, _ = other.takes(packet or b"\0")
    assert frames == []
    assert other.takes(sends(one, other, b"genuine"))[0] == [b"genuine"]
