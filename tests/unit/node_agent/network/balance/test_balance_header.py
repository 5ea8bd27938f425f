"""What a node says first on a connection that it relays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.network.balance.header import FIXED, Request, length, pack, parse

NUMBER = st.integers(1, 65535)


def test_it_is_the_proxy_protocol_as_others_speak_it() -> None:
    """The bytes of proxy-protocol.txt, section 2.2: signature, version 2 and PROXY, TCP over IPv4, 12 bytes of addresses."""
    said = pack(Request(("tcp", "10.0.0.1", 8080), "192.0.2.7", 0x1234, arriving=False))
    assert said == bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc00002070a00000112341f90")


@given(
    st.sampled_from(["tcp", "udp"]),
    st.one_of(
        st.tuples(st.ip_addresses(v=4).map(str), st.one_of(st.just(""), st.ip_addresses(v=4, network="10.0.0.0/8").map(str))),
        st.tuples(st.ip_addresses(v=6).map(str), st.just("")),
    ),
    NUMBER,
    NUMBER,
    st.binary(max_size=20),
)
def test_what_is_said_is_understood_whatever_follows(protocol: str, ends: tuple[str, str], client: int, port: int, rest: bytes) -> None:
    asked = Request((protocol, ends[1], port), ends[0], client, arriving=True)
    said = pack(asked)
    assert parse(said + rest) == asked
    assert FIXED + length(said + rest) == len(said)


@given(st.binary(max_size=60))
def test_nothing_else_is(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|no connection"):
        parse(said)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=2, max_size=80))
def test_nor_is_half_of_it_or_what_names_no_address(command: int, kind: int, rest: bytes) -> None:
    said = pack(Request(("tcp", "", 80), "192.0.2.7", 1, arriving=False))[:12] + bytes([command, kind]) + rest
    try:
        request = parse(said)
    except ValueError:
        return
    assert command == 0x21
    assert request.port[0] in ("tcp", "udp")
    assert len(said) >= FIXED + length(said)
