"""Ports in the short syntax become what docker makes of them."""

import pytest

from stack_specs.ports import Port, check, parse


def read(text: str) -> list[tuple[int, int, str]]:
    return [(port.published, port.target, port.protocol) for port in parse(text).ports]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [(0, 80, "tcp")]),
        ("8080:80", [(8080, 80, "tcp")]),
        ("8080:80/udp", [(8080, 80, "udp")]),
        ("80/SCTP", [(0, 80, "sctp")]),
        ("80/", [(0, 80, "tcp")]),
        (":80", [(0, 80, "tcp")]),
        ("22:22", [(22, 22, "tcp")]),
        ("6000-6001:7000-7001", [(6000, 7000, "tcp"), (6001, 7001, "tcp")]),
        ("8081-8083:81", [(8081, 81, "tcp"), (8082, 81, "tcp"), (8083, 81, "tcp")]),
        ("3000-3001", [(0, 3000, "tcp"), (0, 3001, "tcp")]),
        ("0.0.0.0:80:80", [(80, 80, "tcp")]),
        ("9999-10000:9999-10000", [(10000, 10000, "tcp"), (9999, 9999, "tcp")]),
    ],
)
def test_a_port_reads_as(text: str, ports: list[tuple[int, int, str]]) -> None:
    assert read(text) == ports
    assert check(text) is None


def test_a_port_in_the_short_syntax_is_published_on_every_node() -> None:
    assert parse("80").ports == (Port(mode="ingress", target=80, published=0, protocol="tcp"),)


@pytest.mark.parametrize(
    "text",
    ["", "eighty", "70000", "-1", "80/foo", "80:", "1.2.3:80:80", "host:80:80", "8000-8001:80-82", "8000:80-81", "90-80", "80-", "٨٠"],
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
    assert "ports are written like" in (check(text) or "")


@pytest.mark.parametrize(
    ("text", "shown"), [("[::1]:80:80", "[::1]:80:80/tcp"), ("::1:80:80/udp", "[::1]:80:80/udp"), ("10.0.0.1::80", "10.0.0.1::80/tcp")]
)
def test_an_address_that_cannot_be_kept_is_ignored_with_docker_s_warning(text: str, shown: str) -> None:
    assert parse(text).warnings == (f"ignoring IP-address ({shown}) service will listen on '0.0.0.0'",)
    assert parse(text).ports[0].address == ""


def test_an_address_to_publish_on_goes_with_each_of_a_range() -> None:
    parsed = parse("10.0.0.1:8000-8001:80-81")
    assert ([port.address for port in parsed.ports], parsed.warnings) == (["10.0.0.1", "10.0.0.1"], ())


@pytest.mark.parametrize("text", ["0.0.0.0:80:80", "[::]:80:80"])
def test_an_address_that_means_all_is_no_reason_to_warn(text: str) -> None:
    assert parse(text).warnings == ()


def test_a_port_may_be_a_number_but_no_fraction() -> None:
    assert check(80) is None
    assert check(99999) is not None
    assert check(80.5) is not None
