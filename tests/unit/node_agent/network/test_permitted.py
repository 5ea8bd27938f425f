"""Whether the kernel may be programmed, asked once."""

import os
from pathlib import Path

import pytest

from node_agent.network import permitted
from node_agent.network.data_plane import Choice

ALL = f"Name:\tshoald\nCapPrm:\t{0:016x}\nCapEff:\t{(1 << 41) - 1:016x}\n"


def without(*bits: int) -> str:
    return f"CapEff:\t{(1 << 41) - 1 & ~sum(1 << bit for bit in bits):016x}\n"


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (ALL, []),
        (without(12), ["CAP_NET_ADMIN"]),
        (without(21, 12, 3), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
        ("Name:\tx\n", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    ],
)
def test_the_effective_capabilities_count(status: str, missing: list[str]) -> None:
    assert permitted.missing_capabilities(status) == missing


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_with_all_rights_nothing_stands_against_the_kernels_plane() -> None:
    if missing := permitted.missing_capabilities(Path("/proc/self/status").read_text()):
        pytest.skip(f"needs {missing}")
    assert permitted.why_not() == ""


def test_a_choice_says_what_it_is_and_what_is_missing_then() -> None:
    assert (Choice().name, Choice().announcement, Choice().warnings) == ("nftables", "nftables", ())
    other = Choice("the daemon runs without CAP_NET_ADMIN")
    assert other.name == "userspace"
    (warning,) = other.warnings
    assert warning.startswith("WARNING: data plane in userspace, since the daemon runs without CAP_NET_ADMIN: ")
    for missing in ("client", "no overlay networks", "no virtual addresses", "no names"):
        assert missing in warning
