"""Answers of the world are remembered for as long as they say, denials too, and no longer; whatever a server sends does no harm."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.network.dns.cache import LONGEST, MOST, Cache

SERVERS = ("192.0.2.1",)
SOA = "example.org. {ttl} IN SOA ns.example.org. admin.example.org. 1 2 3 4 {minimum}"


def question(name: str = "example.org", kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()


def answered(asked: bytes, *answers: str, denied_by: str = "", code: int = dns.rcode.NOERROR, flags: int = 0) -> bytes:
    message = dns.message.from_wire(asked)
    response = dns.message.make_response(message)
    if message.ednsflags & dns.flags.DO:
        response.want_dnssec()
    response.set_rcode(code)
    response.flags |= flags
    for section, lines in ((response.answer, answers), (response.authority, filter(None, (denied_by,)))):
        for line in lines:
            name, ttl, of_class, kind, content = line.split(" ", 4)
            section.append(dns.rrset.from_text(name, int(ttl), of_class, kind, content))
    return response.to_wire()


def remembering(asked: bytes, answer: bytes, *, stream: bool = False) -> Cache:
    cache = Cache()
    cache.put(asked, SERVERS, answer, stream=stream, now=1000.0)
    return cache


def test_an_answer_is_given_again_as_long_as_its_shortest_ttl_and_says_how_old_it_is() -> None:
    asked = question()
    alias = answered(asked, "example.org. 60 IN CNAME real.example.org.", "real.example.org. 20 IN A 192.0.2.7")
    cache = remembering(asked, alias)
    again = question("EXAMPLE.org")
    seen = cache.get(again, SERVERS, stream=False, now=1012.5)
    message = dns.message.from_wire(seen)
    assert seen[:2] == again[:2]
    assert message.question[0].name.to_text() == "EXAMPLE.org."
    assert [rrset.ttl for rrset in message.answer] == [48, 8]
    assert message.answer[1][0].to_text() == "192.0.2.7"
    assert cache.get(again, SERVERS, stream=False, now=1020.0) == b""
    assert len(cache) == 0


@pytest.mark.parametrize(("code", "ttl", "minimum", "seconds"), [(dns.rcode.NXDOMAIN, 300, 30, 30), (dns.rcode.NOERROR, 15, 900, 15)])
def test_a_denial_holds_as_long_as_its_zone_says(code: int, ttl: int, minimum: int, seconds: int) -> None:
    asked = question("nobody.example.org")
    cache = remembering(asked, answered(asked, denied_by=SOA.format(ttl=ttl, minimum=minimum), code=code))
    assert dns.message.from_wire(cache.get(asked, SERVERS, stream=False, now=1000.0 + seconds - 0.1)).rcode() == code
    assert cache.get(asked, SERVERS, stream=False, now=1000.0 + seconds) == b""


@pytest.mark.parametrize(
    "answer",
    [
        answered(question(), code=dns.rcode.SERVFAIL),
        answered(question(), code=dns.rcode.NXDOMAIN),
        answered(question()),
        answered(question(), "example.org. 60 IN A 192.0.2.7", flags=dns.flags.TC),
        answered(question(), "example.org. 0 IN A 192.0.2.7"),
        answered(question(), "example.org. 60 IN A 192.0.2.7")[:-1],
        answered(question(), *(f"example.org. 60 IN TXT {'x' * 250}{n}" for n in range(20))),
        b"",
    ],
    ids=["failed", "denied without a term", "nothing without a term", "cut short", "not for keeping", "broken", "large", "silent"],
)
def test_what_does_not_say_how_long_it_holds_is_asked_again(answer: bytes) -> None:
    asked = question()
    cache = remembering(asked, asked[:2] + answer[2:])
    assert (len(cache), cache.get(asked, SERVERS, stream=False, now=1000.0)) == (0, b"")


def test_another_question_another_way_or_another_server_is_another_answer() -> None:
    asked = question()
    cache = remembering(asked, answered(asked, "example.org. 60 IN A 192.0.2.7"))
    for other in (question("example.net"), question(kind="AAAA"), question(use_edns=0), question(want_dnssec=True)):
        assert cache.get(other, SERVERS, stream=False, now=1000.0) == b""
    assert cache.get(asked, ("192.0.2.2",), stream=False, now=1000.0) == b""
    assert cache.get(asked, SERVERS, stream=True, now=1000.0) == b"", "an answer by TCP may be too long for UDP"


def test_what_carries_a_cookie_is_for_one_asker() -> None:
    asked = question(use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")])
    assert len(remembering(asked, answered(asked, "example.org. 60 IN A 192.0.2.7"))) == 0


def test_the_options_of_an_answer_have_no_ttl_to_grow_older() -> None:
    asked = question(use_edns=0, payload=4096, want_dnssec=True)
    cache = remembering(asked, answered(asked, "example.org. 60 IN A 192.0.2.7"))
    message = dns.message.from_wire(cache.get(asked, SERVERS, stream=False, now=1005.0))
    assert (message.answer[0].ttl, message.ednsflags & dns.flags.DO) == (55, dns.flags.DO)


def test_nothing_is_kept_longer_than_an_hour() -> None:
    asked = question()
    cache = remembering(asked, answered(asked, "example.org. 999999 IN A 192.0.2.7"))
    assert cache.get(asked, SERVERS, stream=False, now=1000.0 + LONGEST - 1)
    assert cache.get(asked, SERVERS, stream=False, now=1000.0 + LONGEST) == b""


def test_the_least_used_go_when_there_are_too_many() -> None:
    cache = Cache()
    first = question("h0000.example.org")
    answer = answered(first, "h0000.example.org. 60 IN A 192.0.2.7")
    for number in range(MOST + 2):
        asked, told = (packet.replace(b"h0000", b"h%04d" % number) for packet in (first, answer))
        cache.put(asked, SERVERS, told, stream=False, now=1000.0)
        assert cache.get(first, SERVERS, stream=False, now=1000.0)
    assert len(cache) == MOST
    assert cache.get(first.replace(b"h0000", b"h0001"), SERVERS, stream=False, now=1000.0) == b""


ANSWERS = st.one_of(
    st.binary(max_size=600),
    st.builds(
        lambda at, junk: ONE[:at] + junk + ONE[at + len(junk) :],
        st.integers(min_value=0, max_value=80),
        st.binary(max_size=20),
    ),
)
ASKED = question()
ONE = answered(
    ASKED,
    "example.org. 60 IN CNAME real.example.org.",
    "real.example.org. 20 IN A 192.0.2.7",
    denied_by=SOA.format(ttl=5, minimum=9),
)


def check_harmless(answer: bytes) -> None:
    seen = remembering(ASKED, answer).get(ASKED, SERVERS, stream=False, now=1001.0)
    assert not seen or (len(seen) == len(answer) and seen[:2] == ASKED[:2])


@settings(max_examples=1500, deadline=None)
@given(ANSWERS)
def test_no_answer_whatever_its_bytes_does_harm(answer: bytes) -> None:
    check_harmless(answer)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=200_000, deadline=None, database=None)
@given(ANSWERS)
def test_no_answer_does_harm_however_many_are_tried(answer: bytes) -> None:
    check_harmless(answer)
