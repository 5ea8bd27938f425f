"""Sealing and opening: everything arrives as it was, once, or not at all."""

import os
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.network.crypt.keys import Cipher
from node_agent.network.crypt.packets import GENERATION, HEADER, MOST_PARTS, OVERHEAD, Dropped, Incoming, Outgoing

ROOM = 64
SIZE = ROOM + OVERHEAD


def cipher_of(key: bytes = bytes(32), *, sender: str = "one", receiver: str = "two", epochs: bytes = bytes(32)):  # type: ignore[no-untyped-def]
    return lambda generation: Cipher(key, sender=sender, receiver=receiver, epochs=epochs, generation=generation)


def ends(last: int = 0) -> tuple[Outgoing, Incoming]:
    return Outgoing(cipher_of(), number=7, key=3, last=last), Incoming(cipher_of())


def cut(packets: bytearray) -> list[bytes]:
    return [bytes(packets[start : start + SIZE]) for start in range(0, len(packets), SIZE)]


def seal(outgoing: Outgoing, frame: bytes) -> list[bytes]:
    return cut(outgoing.seal(memoryview(frame), ROOM))


def opened(incoming: Incoming, packets: list[bytes]) -> list[bytes]:
    return [frame for packet in packets if (frame := open_one(incoming, packet)) is not None]


def open_one(incoming: Incoming, packet: bytes | bytearray) -> bytes | None:
    _, place, _, _, number = HEADER.unpack_from(packet)
    return incoming.open(memoryview(packet), place, number)


@given(frames=st.lists(st.binary(min_size=1, max_size=1000), min_size=1, max_size=6), seed=st.integers())
def test_frames_come_out_whole_in_whatever_order_their_parts_come(frames: list[bytes], seed: int) -> None:
    outgoing, incoming = ends()
    packets = [packet for frame in frames for packet in seal(outgoing, frame)]
    Random(seed).shuffle(packets)
    assert sorted(opened(incoming, packets)) == sorted(frames)


def test_a_frame_is_all_there_or_not_there() -> None:
    outgoing, incoming = ends()
    torn, whole = seal(outgoing, os.urandom(500)), seal(outgoing, b"whole")
    assert opened(incoming, [*torn[:3], *torn[4:], *whole]) == [b"whole"]


def test_torn_frames_do_not_pile_up() -> None:
    outgoing, incoming = ends()
    frames = [os.urandom(200) for _ in range(40)]
    packets = [seal(outgoing, frame) for frame in frames]
    assert opened(incoming, [parts[0] for parts in packets]) == []
    assert opened(incoming, [part for parts in packets[-16:] for part in parts[1:]]) == frames[-16:], "the latest are still waited for"


@given(st.data())
def test_one_changed_bit_anywhere_and_it_is_not_taken(data: st.DataObject) -> None:
    outgoing, incoming = ends()
    (packet,) = seal(outgoing, b"what is sent")
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    forged = bytearray(packet)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Dropped):
        open_one(incoming, forged)
    assert opened(incoming, [packet]) == [b"what is sent"], "and the genuine one still is"


@given(st.integers(HEADER.size, HEADER.size + 27))
def test_a_packet_cut_short_is_not_taken(length: int) -> None:
    outgoing, incoming = ends()
    (packet,) = seal(outgoing, b"what is sent")
    assert len(packet) == HEADER.size + 28
    with pytest.raises(Dropped, match="forged"):
        open_one(incoming, packet[:length])


def test_a_packet_that_comes_again_is_not_taken() -> None:
    outgoing, incoming = ends()
    packets = seal(outgoing, os.urandom(300))
    assert len(opened(incoming, packets)) == 1
    for packet in packets:
        with pytest.raises(Dropped, match="replayed"):
            open_one(incoming, packet)


@pytest.mark.parametrize(
    "other",
    [
        cipher_of(b"\1" * 32),
        cipher_of(sender="three"),
        cipher_of(receiver="three"),
        cipher_of(sender="two", receiver="one"),
        cipher_of(epochs=b"\1" * 32),
    ],
    ids=["key", "sender", "receiver", "direction", "epoch"],
)
def test_nothing_opens_what_was_sealed_for_another(other) -> None:  # type: ignore[no-untyped-def]
    outgoing, _ = ends()
    (packet,) = seal(outgoing, b"what is sent")
    with pytest.raises(Dropped, match="forged"):
        open_one(Incoming(other), packet)


def test_after_so_many_packets_the_key_is_another_and_nothing_is_lost_on_the_way() -> None:
    outgoing, incoming = ends(last=(1 << GENERATION) - 20)
    for _ in range(19):
        incoming_before = seal(outgoing, b"same")
    assert opened(incoming, incoming_before) == [b"same"]
    late = seal(outgoing, os.urandom(400))
    after = seal(outgoing, b"after")
    assert [HEADER.unpack_from(one)[4] >> GENERATION for one in (late[0], after[0])] == [1, 1]
    assert opened(incoming, after) == [b"after"]
    assert len(opened(incoming, late)) == 1


def test_a_generation_that_no_sender_has_come_to_is_not_even_derived() -> None:
    derived = []

    def counting(generation: int) -> Cipher:
        derived.append(generation)
        return cipher_of()(generation)

    incoming = Incoming(counting)
    outgoing = Outgoing(cipher_of(), number=7, key=3, last=5 << GENERATION)
    with pytest.raises(Dropped, match="forged"):
        opened(incoming, seal(outgoing, b"from the far future"))
    assert derived == [0]


def test_numbers_go_up_by_one_and_never_back() -> None:
    outgoing, _ = ends()
    numbers = [HEADER.unpack_from(packet)[4] for _ in range(50) for packet in seal(outgoing, bytes(200))]
    assert all(after == before + 1 for before, after in pairwise([0, *numbers]))


def test_a_frame_of_too_many_parts_is_not_sent_and_uses_no_number() -> None:
    outgoing, incoming = ends()
    with pytest.raises(Dropped, match="too large"):
        seal(outgoing, bytes(ROOM * MOST_PARTS + 1))
    assert opened(incoming, seal(outgoing, bytes(ROOM * MOST_PARTS))) == [bytes(ROOM * MOST_PARTS)]
