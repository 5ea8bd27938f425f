"""What a stack file is read in: the client's variables, the folder that relative paths start from, and how to read a file."""

from collections.abc import Callable, Mapping

import msgspec


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Passed to every reader; `warnings` gathers what the user should hear, in the order in which it is found."""

    env: Mapping[str, str]
    working_dir: str
    read: Callable[[str], bytes]
    warnings: list[str]
