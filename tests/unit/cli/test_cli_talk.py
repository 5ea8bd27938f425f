"""The promise: we find the daemon, understand its answers piece by piece, and show logs and credentials as Docker's CLI does."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest

from cli import extensions, images, logs, registry
from cli.command import Noun
from cli.commands.events import shown
from cli.endpoint import Tls, parse, resolve
from cli.errors import CliError
from cli.flags.grammar import Flags
from cli.http import Body, HttpError
from cli.main import Root, run

TLS = Tls("ca", "cert", "key", verify=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("unix:///run/x.sock", ("unix:///run/x.sock", "/run/x.sock", "", 0)),
        ("/run/x.sock", ("unix:///run/x.sock", "/run/x.sock", "", 0)),
        ("./x.sock", ("unix://./x.sock", "./x.sock", "", 0)),
        ("tcp://10.0.0.1:99", ("tcp://10.0.0.1:99", "", "10.0.0.1", 99)),
        ("tcp://host", ("tcp://host", "", "host", 2375)),
        ("host:99", ("tcp://host:99", "", "host", 99)),
        ("tcp://[::1]:99", ("tcp://[::1]:99", "", "::1", 99)),
    ],
)
def test_every_spelling_of_an_address_is_understood(text: str, where: tuple[str, str, str, int]) -> None:
    assert parse(text)[:4] == where


def test_tls_has_its_own_port() -> None:
    assert parse("tcp://host", tls=TLS)[3:] == (2376, TLS)


@pytest.mark.parametrize("text", ["foo://x", "unix://", "tcp://", "tcp://h:0", "tcp://h:x", "tcp://h:99999", "ssh://x"])
def test_other_addresses_are_refused_with_the_right_spelling(text: str) -> None:
    with pytest.raises(CliError, match="invalid host"):
        parse(text)


def test_the_flag_comes_before_the_environment_and_dockers_variable_is_not_ours() -> None:
    env = {"SHOAL_HOST": "tcp://from-env:1", "DOCKER_HOST": "tcp://docker:1"}
    assert resolve("tcp://from-flag:1", env).host == "from-flag"
    assert resolve(None, env).host == "from-env"
    assert resolve(None, {"DOCKER_HOST": "tcp://docker:1"}).path == "/run/shoal/shoal.sock"


def body(raw: bytes, *, length: int | None = None, chunked: bool = False) -> Body:
    return Body(io.BufferedReader(io.BytesIO(raw)), length=length, chunked=chunked)  # type: ignore[type-var] # a reader of bytes


def test_a_body_of_known_length_leaves_the_next_answer_alone() -> None:
    stream = io.BufferedReader(io.BytesIO(b"helloNEXT"))
    assert Body(stream, length=5, chunked=False).read() == b"hello"
    assert stream.read() == b"NEXT"


def test_chunks_come_as_they_are_sent() -> None:
    stream = io.BufferedReader(io.BytesIO(b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: 1\r\n\r\nNEXT"))
    chunked = Body(stream, length=None, chunked=True)
    assert [chunked.read1(), chunked.read1(), chunked.read1()] == [b"hello", b" world", b""]
    assert chunked.finished
    assert stream.read() == b"NEXT"


def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    assert body(b"all of it").read() == b"all of it"
    assert body(b"", length=0).read() == b""


@pytest.mark.parametrize(
    ("raw", "length", "chunked"), [(b"he", 5, False), (b"5\r\nhe", None, True), (b"zz\r\n", None, True), (b"", None, True)]
)
def test_an_answer_that_ends_too_early_is_an_error(raw: bytes, length: int | None, chunked: bool) -> None:
    with pytest.raises(HttpError):
        body(raw, length=length, chunked=chunked).read()


CONTEXT = "com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1"


def test_lines_that_come_in_pieces_are_put_together_stream_by_stream() -> None:
    pieces = [(1, b"one\ntw"), (2, b"err"), (1, b"o\n"), (2, b"or\nrest")]
    assert list(logs.lines(pieces)) == [(1, b"one"), (1, b"two"), (2, b"error"), (2, b"rest")]


def test_a_log_line_is_shown_with_its_source() -> None:
    line = logs.taken_apart(f"2026-01-01T00:00:00Z {CONTEXT},k=v hello world".encode(), stamped=True)
    assert logs.shown(line, source="web.1.t1@host", details=False) == b"2026-01-01T00:00:00Z web.1.t1@host    | hello world"
    assert logs.shown(line, source="web.1.t1@host", details=True).endswith(b"| k=v hello world")


@pytest.mark.parametrize("line", [b"hello", b"a=b hello"])
def test_a_log_line_without_its_task_is_refused(line: bytes) -> None:
    with pytest.raises(CliError, match="missing node id"):
        logs.taken_apart(line, stamped=False)


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1", "busybox:1"),
        ("docker.io/library/busybox", "busybox:latest"),
        ("index.docker.io/team/x", "team/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("reg.example.com/a/b:c", "reg.example.com/a/b:c"),
        ("busybox@sha256:" + "a" * 64, "busybox@sha256:" + "a" * 64),
        ("a" * 64, "a" * 64),
        ("Not An Image", "Not An Image"),
    ],
)
def test_an_image_without_a_tag_means_latest(image: str, whole: str) -> None:
    assert images.tagged(image) == whole


def test_listings_leave_digests_out_where_a_tag_tells_enough() -> None:
    assert images.bare("busybox:1@sha256:" + "a" * 64) == "busybox:1"
    assert images.bare("busybox@sha256:" + "a" * 64) == "busybox@sha256:" + "a" * 64


BASIC = {"auth": base64.b64encode(b"user:pass:word").decode()}


@pytest.mark.parametrize(
    ("config", "server", "found"),
    [
        ({}, registry.INDEX, {}),
        (
            {"auths": {registry.INDEX: BASIC}},
            registry.INDEX,
            {"username": "user", "password": "pass:word", "serveraddress": registry.INDEX},
        ),
        (
            {"auths": {"https://reg:5000/v2/": BASIC}},
            "reg:5000",
            {"username": "user", "password": "pass:word", "serveraddress": "reg:5000"},
        ),
        ({"auths": {"reg": {"identitytoken": "tok"}}}, "reg", {"identitytoken": "tok", "serveraddress": "reg"}),
        ({"auths": {"other": BASIC}}, "reg", {}),
    ],
)
def test_credentials_are_those_of_the_images_registry(config: dict[str, Any], server: str, found: dict[str, str]) -> None:
    assert registry.credentials(config, server) == found


def test_damaged_credentials_are_not_shown_but_told_of() -> None:
    with pytest.raises(CliError, match="log in again") as damaged:
        registry.credentials({"auths": {"reg": {"auth": "!!secret!!"}}}, "reg")
    assert "secret" not in damaged.value.message


def decoded(headers: dict[str, str]) -> Any:
    return json.loads(base64.b64decode(headers[extensions.HEADER]))


def test_shoals_own_wishes_travel_in_a_header() -> None:
    assert extensions.of_flags(Flags({})) == {}
    assert decoded(extensions.of_flags(Flags({"drain-timeout": 5}), {"DrainTimeout": 1, "Other": 2})) == {"DrainTimeout": 5, "Other": 2}
    assert decoded(extensions.deployed({"drain_timeout": "10s"}, "web", {}, None)) == {"DrainTimeout": 10_000_000_000}
    assert extensions.deployed({"depends_on": []}, "web", {}, None) == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [({"dran_timeout": "1s"}, "is not known; there is depends_on, devices, drain_timeout"), ({"drain_timeout": "1"}, "missing unit")],
)
def test_a_wish_that_is_not_understood_is_refused(written: dict[str, str], said: str) -> None:
    with pytest.raises(CliError, match=said):
        extensions.members_of_stack(written, "web")


def test_an_event_is_a_line_json_or_a_template() -> None:
    event = {
        "Type": "service",
        "Action": "update",
        "Actor": {"ID": "x", "Attributes": {"name": "web"}},
        "scope": "swarm",
        "timeNano": 1_500,
    }
    assert shown(event, "").endswith(".000001500Z service update x (name=web)") or "+" in shown(event, "")
    assert json.loads(shown(event, "json")) == event
    assert shown(event, "{{.Type}} {{.Status}} {{.ID}} {{.Actor.Attributes.name}}") == "service update x web"


def test_help_lists_every_noun_and_every_verb_has_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    root = Root()
    for name, entry in root.entries.items():
        assert run([name, "--help"]) == 0
        page = capsys.readouterr().out
        assert page.startswith(f"Usage:  shoal {name}")
        command = root.find(name)
        assert command is not None
        assert command.help == entry.help
        for verb, verb_entry in command.entries.items() if isinstance(command, Noun) else ():
            assert f"  {verb} " in page
            assert run([name, verb, "--help"]) == 0
            verb_page = capsys.readouterr().out
            assert verb_page.startswith(f"Usage:  shoal {name} {verb}")
            found = command.find(verb)
            assert found is not None
            assert found.help == verb_entry.help


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"], ["help"], ["service"], ["help", "service"]])
def test_help_is_no_error(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 0
    assert capsys.readouterr().out.startswith("Usage:  shoal")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["bogus"], "shoal: unknown command: shoal bogus"),
        (["service", "bogus"], "shoal: unknown command: shoal service bogus"),
        (["service", "rm"], "shoal: 'shoal service rm' requires at least 1 argument"),
        (["service", "list", "x"], "shoal: 'shoal service ls' accepts no arguments"),
        (["-H", "/x.sock", "ps", "-a", "two words"], "use: docker -H unix:///x.sock ps -a 'two words'"),
        (["container", "ls"], "use: docker -H unix:///run/shoal/shoal.sock container ls"),
        (["-H", "/nonexistent.sock", "node", "ls"], "Cannot connect to the Shoal daemon at unix:///nonexistent.sock. Is shoald running?"),
        (["swarm", "join-token", "boss"], "unknown role boss: say worker or manager"),
        (["swarm", "update"], "nothing to update"),
        (["stack", "deploy", "a b"], 'invalid stack name: "a b"'),
        (["stack", "deploy", "x"], "no stack file was given"),
        (["service", "scale", "web"], "invalid scale specifier 'web'."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(line: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOAL_HOST", raising=False)
    with pytest.raises(CliError) as refused:
        run(line)
    assert refused.value.message.startswith(said) or said in refused.value.message
