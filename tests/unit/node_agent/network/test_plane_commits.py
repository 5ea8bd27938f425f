"""Whose nftables transactions a packet tells of, and which interfaces it says are gone."""

import struct

from node_agent.network.commits import committers, removed


def message(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("=HH", 4 + len(content), number) + content + b"\0" * (-len(content) % 4) for number, content in attributes)
    return struct.pack("=IHHII", 20 + len(body), kind, 0, 0, 0) + b"\0\0\0\0" + body


def test_a_packet_names_the_threads_that_committed_and_nothing_else_counts() -> None:
    new_table = message(0x0A00, (1, b"shoal\0"))
    ours = message(0x0A0F, (1, b"\0\0\0\7"), (2, struct.pack("!I", 4711)), (3, b"shoald\0"))
    theirs = message(0x0A0F, (1, b"\0\0\0\x08"), (2, struct.pack("!I", 12)))
    assert committers(new_table) == []
    assert committers(new_table + ours + theirs) == [4711, 12]


def test_one_that_is_not_named_counts_as_somebody() -> None:
    assert committers(message(0x0A0F, (1, b"\0\0\0\7"))) == [0]


def test_a_damaged_packet_ends_the_reading() -> None:
    assert committers(b"\1\0\0\0" + b"\0" * 40) == []


def test_interfaces_that_go_are_named_and_those_that_come_are_not() -> None:
    def link(kind: int, name: bytes) -> bytes:
        body = b"\0" * 16 + struct.pack("=HH", 5 + len(name), 3) + name + b"\0" * (1 + -(len(name) + 1) % 4)
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    assert removed(link(16, b"veth1") + link(17, b"shoal_link") + link(17, b"sv-net1")) == ["shoal_link", "sv-net1"]
    assert removed(b"\1\0\0\0" + b"\0" * 40) == []
