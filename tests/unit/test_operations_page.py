"""docs/operations.md names what the code has: every setting, every figure, and nothing that is neither."""

import re
from pathlib import Path

from node_agent.api.backend import LocalState
from node_agent.config import DEFAULT_CONFIG_FILE, DEFAULT_SOCKET, Config, names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def named(text: str) -> set[str]:
    """What stands in backquotes in the first column of its table."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_setting_is_described_and_no_other() -> None:
    assert named(section("Settings")) == names()


def test_defaults_are_those_of_the_code() -> None:
    text, default = section("Settings"), Config()
    for value in (DEFAULT_CONFIG_FILE, DEFAULT_SOCKET, default.data_root, default.exec_root, default.pidfile, default.group):
        assert value in text
    assert f"| {default.shutdown_timeout} |" in text


def test_every_figure_is_described_and_no_other() -> None:
    exported = set(re.findall(r'"(shoal_\w+)"', (ROOT / "node_agent" / "metrics.py").read_text()))
    assert named(section("Metrics")) == exported
    assert ", ".join(LocalState) in section("Metrics")
