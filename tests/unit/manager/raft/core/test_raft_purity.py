"""What decides knows of no time, thread, socket, disk or chance; nor does anything that it imports from this project."""

import ast
from pathlib import Path

import pytest

import manager.raft.core

CORE = Path(manager.raft.core.__file__).parent
ALLOWED = {"abc", "bisect", "collections", "enum", "msgspec", "typing"}


def imports_of(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("module", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_imports_itself_and_what_cannot_act(module: Path) -> None:
    foreign = {name for name in imports_of(module) if not name.startswith("manager.raft.core")}
    assert {name.partition(".")[0] for name in foreign} <= ALLOWED
