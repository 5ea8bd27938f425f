"""Golden traces: each script beside this file is played, and what happens is what it says. See `raft_interpreter`."""

from pathlib import Path

import pytest

from tests.scripts.raft.raft_interpreter import Script

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_happens_as_written(path: Path) -> None:
    written = path.read_text()
    assert Script().play(written) == written, f"if the new outcome is right: python -m tests.scripts.raft.raft_interpreter {path}"
