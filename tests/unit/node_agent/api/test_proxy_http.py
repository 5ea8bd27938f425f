"""Heads and bodies as bytes: what is read, what is refused, where a body ends."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.api.http import (
    BadMessage,
    Chunked,
    Framing,
    Headers,
    Length,
    ResponseHead,
    UntilEof,
    chunk,
    cut_head,
    parse_request,
    parse_response,
    request_framing,
    response_framing,
    write_head,
)


def test_a_head_is_cut_off_once_it_is_all_there() -> None:
    buffer = bytearray(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest")
    assert cut_head(buffer) == "GET / HTTP/1.1\nHost: a"
    assert buffer == b"rest"
    assert cut_head(buffer) is None


def test_lines_may_end_as_people_type_them() -> None:
    buffer = bytearray(b"GET / HTTP/1.1\nHost: a\r\n\nrest")
    assert cut_head(buffer) == "GET / HTTP/1.1\nHost: a"
    assert buffer == b"rest"


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(BadMessage) as refused:
        cut_head(bytearray(b"x" * 1_100_000))
    assert refused.value.status == 431


def test_a_request_is_read() -> None:
    head = parse_request("POST /v1.41/x?y=z HTTP/1.1\nHost: docker\nX-A: 1\nx-a: 2")
    assert (head.method, head.target, head.minor, head.keep_alive) == ("POST", "/v1.41/x?y=z", 1, True)
    assert head.headers.get("X-a") == "1, 2"
    for scheme in ("http", "https"):
        assert parse_request(f"GET {scheme}://docker/info?a=%41 HTTP/1.1\nHost: docker").target == "/info?a=%41"


def test_a_path_has_one_spelling() -> None:
    """Else `/%6eodes` would go past our routes to the engine, which knows another swarm or none."""
    assert parse_request("GET /%6e%6Fdes/a%2fb%20%C3%BC HTTP/1.0").target == "/nodes/a%2fb%20%C3%BC"


def test_connections_are_kept_as_each_version_says() -> None:
    assert not parse_request("GET / HTTP/1.1\nHost: a\nConnection: Close").keep_alive
    assert not parse_request("GET / HTTP/1.0").keep_alive
    assert parse_request("GET / HTTP/1.0\nConnection: keep-alive").keep_alive


@pytest.mark.parametrize(
    "head",
    [
        "",
        "GET /",
        "GET  / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET x HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\nHost: a\nHost: b",
        "GET /% HTTP/1.0",
        "GET /%zz HTTP/1.0",
        "GET /%4 HTTP/1.0",
        "GET /%+4 HTTP/1.0",
        "GET / HTTP/1.0\nA: b\rc",
        "GET / HTTP/1.0\nno colon",
        "GET / HTTP/1.0\nName : value",
        "GET / HTTP/1.0\nA: b\n folded",
        "GET / HTTP/1.0\n: empty",
    ],
)
def test_what_is_no_request_is_refused(head: str) -> None:
    with pytest.raises(BadMessage):
        parse_request(head)


def test_a_response_is_read_with_or_without_a_reason() -> None:
    assert parse_response("HTTP/1.1 101 UPGRADED\nUpgrade: tcp")[:2] == (101, "UPGRADED")
    assert parse_response("HTTP/1.1 200")[:2] == (200, "")
    with pytest.raises(BadMessage):
        parse_response("HTTP/1.1 abc")


def test_a_header_cannot_smuggle_another_one() -> None:
    assert write_head("HTTP/1.1 200 OK", [("A", "b")]) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    with pytest.raises(BadMessage):
        write_head("HTTP/1.1 200 OK", [("A", "b\r\nSet-Cookie: c")])


def test_only_what_concerns_the_other_end_goes_on() -> None:
    headers = Headers(
        [("Host", "d"), ("Connection", "X-Hop, Upgrade"), ("X-Hop", "1"), ("Upgrade", "tcp"), ("Content-Length", "3"), ("X-Auth", "a")]
    )
    assert headers.end_to_end() == [("Host", "d"), ("X-Auth", "a")]
    assert headers.end_to_end(without=frozenset({"host"})) == [("X-Auth", "a")]


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "3"), ("Content-Length", "4")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", "x")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "identity")],
    ],
)
def test_two_readings_of_a_bodys_end_are_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(BadMessage):
        request_framing(Headers(fields))


def test_a_request_without_a_length_has_no_body() -> None:
    assert request_framing(Headers()).done
    assert not request_framing(Headers([("Content-Length", "3"), ("content-length", "3")])).done


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("POST", 101)])
def test_some_responses_have_no_body_whatever_they_state(method: str, status: int) -> None:
    head = ResponseHead(status, "", Headers([("Content-Length", "9")]))
    assert response_framing(head, method=method).done


def test_a_response_without_a_length_ends_with_its_connection() -> None:
    framing = response_framing(ResponseHead(200, "", Headers()), method="GET")
    assert isinstance(framing, UntilEof)
    assert framing.take(bytearray(b"ab"), eof=False) == b"ab"
    assert not framing.done
    assert framing.take(bytearray(), eof=True) == b""
    assert framing.done


def read(framing: Framing, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """What a body's content is when it arrives in pieces, and what is left behind it."""
    buffer, content = bytearray(), b""
    for piece in pieces:
        buffer += piece
        content += framing.take(buffer, eof=False)
    return content, bytes(buffer)


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 400), max_size=8), sizes=st.lists(st.integers(1, 60), max_size=6))
def test_a_chunked_body_reads_the_same_however_it_is_cut(body: bytes, cuts: list[int], sizes: list[int]) -> None:
    encoded, rest = b"", body
    for size in sizes:
        encoded += chunk(rest[:size]) if rest[:size] else b""
        rest = rest[size:]
    encoded += (chunk(rest) if rest else b"") + chunk(b"") + b"NEXT"
    edges = [0, *sorted(cut for cut in cuts if cut < len(encoded)), len(encoded)]
    framing = Chunked()
    assert read(framing, [encoded[a:b] for a, b in pairwise(edges)]) == (body, b"NEXT")
    assert framing.done


def test_extensions_and_trailers_of_chunks_are_read_and_forgotten() -> None:
    framing = Chunked()
    assert read(framing, [b"3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\nrest"]) == (b"abc", b"rest")
    assert framing.done


@pytest.mark.parametrize("encoded", [b"x\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"\r\n", b"1" * 70_000])
def test_malformed_chunks_are_refused(encoded: bytes) -> None:
    with pytest.raises(BadMessage):
        read(Chunked(), [encoded])


def test_a_body_that_breaks_off_is_no_body() -> None:
    for framing in (Length(4), Chunked()):
        with pytest.raises(BadMessage):
            framing.take(bytearray(b"abc" if isinstance(framing, Length) else b"4\r\nabc"), eof=True)


def test_a_body_of_a_stated_length_leaves_what_follows() -> None:
    framing = Length(3)
    assert read(framing, [b"a", b"bcNEXT"]) == (b"abc", b"NEXT")
    assert framing.done
