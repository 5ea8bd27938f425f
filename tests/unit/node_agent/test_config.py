"""The daemon's settings: dockerd's rules for files and flags, and no way to open root to everyone by mistake."""

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.addresses import routes, split_port, to_advertise
from node_agent.config import Config, HostAddress, engine_options, merge, parse_host


def test_nothing_given_is_the_defaults() -> None:
    assert merge(b"", {}) == Config()


def test_file_and_flags_add_up() -> None:
    config = merge(b'{"labels": ["zone=a"], "debug": true}', {"data-root": "/srv/shoal"})
    assert (config.label_map, config.debug, config.data_root) == ({"zone": "a"}, True, "/srv/shoal")


@pytest.mark.parametrize(
    ("file", "flags", "words"),
    [
        (b'{"debug": true}', {"debug": True}, "both as a flag and in the file"),
        (b'{"bridge": "x"}', {}, "unknown key 'bridge'"),
        (b"{", {}, "not a JSON object"),
        (b'{"labels": "a=b"}', {}, "labels"),
        (b'{"log-level": "loud"}', {}, "log level 'loud'"),
        (b'{"labels": ["novalue"]}', {}, "bad attribute format"),
        (b'{"hosts": ["tcp://0.0.0.0:2375"]}', {}, "without client certificates"),
        (b'{"hosts": ["ftp://x"]}', {}, "bad listen address"),
        (b'{"data-root": "relative"}', {}, "absolute"),
        (b'{"shutdown-timeout": 0}', {}, "at least 1 second"),
        (b'{"metrics-addr": "9323"}', {}, "bad metrics address"),
        (b'{"metrics-addr": ":9323"}', {}, "bad metrics address"),
    ],
)
def test_what_cannot_work_is_refused_with_the_place_and_the_cure(file: bytes, flags: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        merge(file, flags)


def test_options_of_the_engine_are_json_or_words() -> None:
    given = ["storage-driver=overlay2", 'insecure-registries=["a:5000"]', "mtu=1400", "log-opts={"]
    assert engine_options(given) == {"storage-driver": "overlay2", "insecure-registries": ["a:5000"], "mtu": 1400, "log-opts": "{"}
    assert merge(b'{"engine-options": {"mtu": 1400}}', {}).engine_options == {"mtu": 1400}
    for wrong in ("mtu", "=1", "mtu="):
        with pytest.raises(InvalidArgument, match="KEY=VALUE"):
            engine_options([wrong])


def test_addresses_to_listen_on() -> None:
    assert parse_host("unix:///run/shoal/shoal.sock") == HostAddress("unix", path="/run/shoal/shoal.sock")
    assert parse_host("tcp://127.0.0.1:2375") == HostAddress("tcp", host="127.0.0.1", port=2375)


def test_the_hosts_networks_are_read_and_our_own_left_out() -> None:
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t010A0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "sb-abc\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert routes(table) == ("10.99.0.0/24",)


def test_an_address_with_and_without_a_port() -> None:
    assert split_port("10.0.0.1") == ("10.0.0.1", 2377)
    assert split_port("10.0.0.1:99") == ("10.0.0.1", 99)
    assert split_port("[::1]:99") == ("::1", 99)
    with pytest.raises(InvalidArgument, match="port"):
        split_port("10.0.0.1:x")


def test_only_a_host_with_one_address_may_leave_it_out() -> None:
    assert to_advertise({"lo": "127.0.0.1", "eth0": "10.0.0.1", "docker0": "172.17.0.1"}) == "10.0.0.1"
    with pytest.raises(InvalidArgument, match="multiple addresses on different interfaces"):
        to_advertise({"eth0": "10.0.0.1", "eth1": "10.1.0.1"})
    with pytest.raises(InvalidArgument, match="no address but loopback"):
        to_advertise({"lo": "127.0.0.1"})
