"""The name server's own reading and writing of DNS messages, against a library's, and against rubbish."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.network.dns import odd, wire


def question(name: str, kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()


def parsed(packet: bytes) -> wire.Query:
    query = wire.parse(packet)
    assert query is not None
    return query


def test_a_plain_question_is_read_whatever_its_case() -> None:
    query = parsed(question("Tasks.WEB"))
    assert (query.name, query.kind, query.udp_size) == (wire.wire_name("tasks.web"), wire.A, 0)
    assert wire.text_name(query.name) == "tasks.web"


def test_edns_says_how_much_the_asker_takes() -> None:
    assert parsed(question("web", use_edns=0, payload=4096)).udp_size == 4096


def test_an_answer_repeats_the_question_as_it_was_asked() -> None:
    packet = question("Web", use_edns=0)
    answer = dns.message.from_wire(wire.respond(parsed(packet), [wire.address_record(bytes((10, 0, 1, 9)))]))
    assert dns.message.from_wire(packet).is_response(answer)
    assert [record.to_text() for record in answer.answer[0]] == ["10.0.1.9"]
    assert answer.flags & dns.flags.AA
    assert answer.edns == 0


def test_a_pointer_names_what_the_address_is() -> None:
    packet = question("9.1.0.10.in-addr.arpa", "PTR")
    assert wire.reverse_address(parsed(packet).name) == "10.0.1.9"
    answer = dns.message.from_wire(wire.respond(parsed(packet), [wire.pointer_record("web.shop")]))
    assert answer.answer[0][0].to_text() == "web.shop."


@pytest.mark.parametrize(
    "name", ["1.0.10.in-addr.arpa", "x.1.0.10.in-addr.arpa", "300.1.0.10.in-addr.arpa", "web", "1.9.1.0.10.in-addr.arpa"]
)
def test_what_is_no_address_backwards_has_none(name: str) -> None:
    assert wire.reverse_address(wire.wire_name(name)) == ""


def test_by_udp_what_does_not_fit_is_said_to_be_missing_and_by_tcp_it_fits() -> None:
    many = [wire.address_record(bytes((10, 0, 1, n))) for n in range(200)]
    plain = parsed(question("peers"))
    short = dns.message.from_wire(wire.respond(plain, many))
    assert short.flags & dns.flags.TC
    assert 20 < len(short.answer[0]) < 32
    assert len(wire.respond(plain, many)) <= 512
    assert len(wire.respond(parsed(question("peers", use_edns=0, payload=65000)), many)) <= 1232
    whole = dns.message.from_wire(wire.respond(plain, many, stream=True))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 200


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64])
def test_what_is_no_name_has_no_key(name: str) -> None:
    assert wire.wire_name(name) == b""


def test_odd_messages_are_refused_in_a_way_that_the_asker_can_read() -> None:
    update = dns.message.make_query("web", "A")
    update.set_opcode(4)
    assert wire.parse(update.to_wire()) is None
    assert dns.message.from_wire(odd.answer(update.to_wire())).rcode() == dns.rcode.NOTIMP
    chaos = question("version.bind", "TXT", rdclass="CH")
    assert wire.parse(chaos) is None
    assert dns.message.from_wire(odd.answer(chaos)).rcode() == dns.rcode.REFUSED
    broken = question("web")[:-3]
    assert dns.message.from_wire(odd.answer(broken)).rcode() == dns.rcode.FORMERR


def test_an_answer_is_not_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("web", "A")).to_wire()
    assert wire.parse(response) is None
    assert odd.answer(response) == b""
    assert odd.answer(b"short") == b""


PACKETS = st.one_of(
    st.binary(max_size=600),
    st.builds(
        lambda packet, at, junk: packet[: at % len(packet)] + junk + packet[at % len(packet) :],
        st.sampled_from([question("web"), question("web.shop", use_edns=0), question("9.1.0.10.in-addr.arpa", "PTR")]),
        st.integers(min_value=0, max_value=600),
        st.binary(max_size=40),
    ),
)


def check_harmless(packet: bytes) -> None:
    query = wire.parse(packet)
    answer = odd.answer(packet) if query is None else wire.respond(query, [wire.address_record(bytes(4))])
    if query is not None:
        wire.text_name(query.name)
        wire.reverse_address(query.name)
    assert not answer or (answer[:2] == packet[:2] and answer[2] & 0x80)


@settings(max_examples=1500, deadline=None)
@given(PACKETS)
def test_no_packet_whatever_its_bytes_does_harm(packet: bytes) -> None:
    check_harmless(packet)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=400_000, deadline=None, database=None)
@given(PACKETS)
def test_no_packet_does_harm_however_many_are_tried(packet: bytes) -> None:
    check_harmless(packet)
