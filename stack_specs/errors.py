"""How a stack file is refused: one line that names the file, the line and the key, what is wrong and what to do.

Modules that decide know values and keys, not files: they raise a `Fault`. The loader knows where each key was written, and makes
a `StackError` of it.
"""

from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys that lead to a value, from the top of the file: ("services", "web", "ports", 0)."""


def dotted(path: KeyPath) -> str:
    """The key path as people write it: services.web.ports.0"""
    return ".".join(str(key) for key in path)


def sentence(path: KeyPath, problem: str, remedy: str) -> str:
    """`services.web.ports: what is wrong; what to do`, without the parts that are empty."""
    said = f"{problem}; {remedy}" if remedy else problem
    return f"{dotted(path)}: {said}" if path else said


class Fault(Exception):
    """Something is wrong at a key, in a module that does not know which file the key stands in."""

    def __init__(self, path: KeyPath, problem: str, remedy: str = "") -> None:
        super().__init__(sentence(path, problem, remedy))
        self.path, self.problem, self.remedy = path, problem, remedy


class StackError(Exception):
    """A stack was refused. Its text is one line for the user; its attributes are the facts."""

    def __init__(self, *, file: str | None, line: int | None, path: KeyPath, problem: str, remedy: str = "") -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + sentence(path, problem, remedy))
        self.file, self.line, self.path, self.problem, self.remedy = file, line, path, problem, remedy
