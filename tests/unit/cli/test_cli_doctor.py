"""`shoal doctor` hands over to the daemon's binary on this host."""

from pathlib import Path

import pytest

from cli.commands.doctor import command, doctor
from cli.errors import CliError
from cli.flags.grammar import read


def test_the_daemon_of_the_same_installation_is_asked_with_the_flags_as_given(tmp_path: Path) -> None:
    (tmp_path / "shoald").touch()
    words = read(["--format", "json", "--config-file", "/etc/x.json"], doctor.flags)
    line = command(tmp_path / "python", {"PATH": ""}, words)
    assert line == [str(tmp_path / "shoald"), "--config-file", "/etc/x.json", "doctor", "--format", "json"]


def test_else_the_one_in_the_path(tmp_path: Path) -> None:
    other = tmp_path / "bin" / "shoald"
    other.parent.mkdir()
    other.touch(mode=0o755)
    assert command(tmp_path / "python", {"PATH": str(other.parent)}, read([], doctor.flags)) == [str(other), "doctor"]


def test_a_host_without_a_daemon_is_no_patient(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="run it on a node"):
        command(tmp_path / "python", {"PATH": str(tmp_path)}, read([], doctor.flags))
