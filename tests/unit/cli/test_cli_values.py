"""The promise: values are spelt as for Docker's CLI, and what cannot be meant is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.flags import moments, subnets, values
from cli.flags.grammar import Flags
from cli.flags.swarm import external_ca, listen_address, merged, subnet


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1.5s", 1_500_000_000),
        ("1h2m3s", 3_723 * 10**9),
        ("-2m", -120 * 10**9),
        (".5ms", 500_000),
        ("3us", 3000),
        ("3µs", 3000),
    ],
)
def test_durations_are_gos(text: str, nanoseconds: int) -> None:
    assert values.duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "--1s", "1s2", "1h-1m", "."])
def test_other_words_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("1k", 1024), ("1KB", 1024), ("1KiB", 1024), ("1.5g", 1610612736), ("2 mb", 2097152), ("3b", 3)],
)
def test_sizes_are_binary(text: str, size: int) -> None:
    assert values.size(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x", "-1", "1.", "1kk", "1 k k"])
def test_other_words_are_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        values.size(text)


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("0x10", 16), ("010", 8), ("0b11", 3), ("0o17", 15), ("1_000", 1000)])
def test_whole_numbers_may_have_a_base(text: str, number: int) -> None:
    assert values.unsigned(text) == number
    assert values.integer(f"-{text}") == -number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "08", "18446744073709551616"])
def test_other_words_are_no_counts(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseUint"):
        values.unsigned(text)


def test_a_ratio_is_as_short_as_its_32_bits_allow() -> None:
    assert [values.ratio(text) for text in ("0.1", "1", "0.123456789", ".25")] == [0.1, 1.0, 0.12345679, 0.25]


@pytest.mark.parametrize(("text", "nano"), [("1", 10**9), ("0.5", 5 * 10**8), ("1/4", 25 * 10**7), ("1e-3", 10**6)])
def test_cpus_are_counted_in_billionths(text: str, nano: int) -> None:
    assert values.cpus(text) == nano


@pytest.mark.parametrize("text", ["x", "", "1/0", "0.00000000001"])
def test_other_words_are_no_cpus(text: str) -> None:
    with pytest.raises(ValueError, match=r"rational|precise"):
        values.cpus(text)


def test_fields_may_be_quoted() -> None:
    assert values.fields('a=1,"b=2,3",c') == ["a=1", "b=2,3", "c"]


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1136073600", "1136073600"),
        ("1136073600.5", "1136073600.5"),
        ("10m", "1767322445.000000000"),
        ("2026-01-02", "1767312000.000000000"),
        ("2026-01-02T03:04:05Z", "1767323045.000000000"),
        ("2026-01-02T03:04:05.123456789Z", "1767323045.123456789"),
        ("2026-01-02T03:04:05+01:00", "1767319445.000000000"),
        ("2026-01-02T03:04", "1767323040.000000000"),
    ],
)
def test_moments_are_given_to_the_api_as_seconds(text: str, seconds: str) -> None:
    assert moments.timestamp(text, now=NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "10x"])
def test_other_words_are_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match="failed to parse"):
        moments.timestamp(text, now=NOW)


def test_ranges_gateways_and_auxiliary_addresses_go_to_their_subnets() -> None:
    found = subnets.pools(["10.1.0.0/16", "10.2.0.0/16"], ["10.2.3.0/24"], ["10.1.0.1"], {"a": "10.2.0.9"})
    assert found == [
        {"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1"},
        {"Subnet": "10.2.0.0/16", "IPRange": "10.2.3.0/24", "AuxiliaryAddresses": {"a": "10.2.0.9"}},
    ]


@pytest.mark.parametrize(
    ("nets", "ranges", "gateways", "aux", "said"),
    [
        ([], ["10.1.0.0/24"], [], {}, "every ip-range or gateway must have a corresponding subnet"),
        (["10.1.0.0/16"], ["10.2.0.0/24"], [], {}, "no matching subnet for range 10.2.0.0/24"),
        (["10.1.0.0/16", "10.1.2.0/24"], [], [], {}, "multiple overlapping subnet configuration is not supported"),
        (["10.1.0.0/16", "10.2.0.0/16"], [], ["10.1.0.1", "10.1.0.2"], {}, "cannot configure multiple gateways"),
        (["x"], [], [], {}, "invalid subnet x"),
        (["10.1.0.0/16"], [], [], {"a": "nope"}, "invalid aux-address nope"),
    ],
)
def test_pools_that_do_not_fit_are_refused(nets: list[str], ranges: list[str], gateways: list[str], aux: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        subnets.pools(nets, ranges, gateways, aux)


def test_only_the_settings_that_were_said_change_the_swarms_spec() -> None:
    before = {"Name": "default", "Raft": {"SnapshotInterval": 5, "ElectionTick": 10}, "CAConfig": None}
    after = merged(before, Flags({"snapshot-interval": 7, "cert-expiry": 9, "autolock": True, "rebalance": 2}))
    assert after == {
        "Name": "default",
        "Raft": {"SnapshotInterval": 7, "ElectionTick": 10},
        "CAConfig": {"NodeCertExpiry": 9},
        "EncryptionConfig": {"AutoLockManagers": True},
        "Labels": {"io.shoal.rebalance": "2"},
    }
    assert before["CAConfig"] is None


def test_listen_addresses_get_the_swarms_port() -> None:
    assert [listen_address(text) for text in ("eth0", "1.2.3.4:99", "0.0.0.0")] == ["eth0:2377", "1.2.3.4:99", "0.0.0.0:2377"]


def test_an_external_ca_needs_protocol_and_url() -> None:
    assert external_ca("protocol=cfssl,url=https://x,a=b") == {"Protocol": "cfssl", "URL": "https://x", "Options": {"a": "b"}}
    for text in ("protocol=cfssl", "url=x", "protocol=foo,url=x", "x"):
        with pytest.raises(ValueError, match=r"parameter|unrecognized|key=value"):
            external_ca(text)


def test_address_pools_are_networks() -> None:
    assert subnet("10.1.2.3/16,10.2.0.0/16") == ["10.1.0.0/16", "10.2.0.0/16"]
    with pytest.raises(ValueError, match="CIDR"):
        subnet("ten")
