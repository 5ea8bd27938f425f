"""Questions for hardware addresses, answered on the spot: nothing of them goes to another node."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from node_agent.network.crypt.frames import VNET, arp_answer, asked_address, destination, is_multicast

ASKER, ASKER_MAC = bytes((10, 0, 0, 2)), bytes.fromhex("02420a000002")
ASKED, ASKED_MAC = bytes((10, 0, 0, 3)), bytes.fromhex("02420a000003")
EVERYBODY = b"\xff" * 6


def question(*, asked: bytes = ASKED, asker: bytes = ASKER, operation: int = 1) -> bytes:
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + ASKER_MAC + asker + bytes(6) + asked
    return bytes(VNET) + EVERYBODY + ASKER_MAC + b"\x08\x06" + arp


def test_a_question_is_recognised_and_its_answer_is_one() -> None:
    assert asked_address(memoryview(question())) == ASKED
    answer = arp_answer(memoryview(question()), ASKED_MAC)
    assert destination(memoryview(answer)) == ASKER_MAC
    assert answer[VNET + 6 :] == ASKED_MAC + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + ASKED_MAC + ASKED + ASKER_MAC + ASKER


def test_what_is_no_question_for_an_address_is_none() -> None:
    announcement = question(asked=ASKER)
    for frame in (announcement, question(operation=2), question()[:-1], question()[:20], question().replace(b"\x08\x06", b"\x86\xdd")):
        assert asked_address(memoryview(frame)) == b""


def test_who_a_frame_is_for() -> None:
    assert destination(memoryview(question())) == EVERYBODY
    assert is_multicast(EVERYBODY)
    assert is_multicast(bytes.fromhex("333300000001"))
    assert not is_multicast(ASKED_MAC)


@given(st.binary(max_size=80))
def test_no_frame_is_too_odd_to_look_at(frame: bytes) -> None:
    assert asked_address(memoryview(frame)) in (b"", frame[VNET + 38 : VNET + 42])
