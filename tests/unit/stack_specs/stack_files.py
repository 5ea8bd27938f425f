"""Stacks in memory: files by name, as `read` gives them, in the folder /srv."""

import textwrap
from collections.abc import Callable, Mapping

from stack_specs.convert import StackRequests, plan
from stack_specs.loader import load
from stack_specs.model import Service, Stack
from stack_specs.values import Json

FOLDER = "/srv"
NO_ENV: Mapping[str, str] = {}


def reader(files: Mapping[str, bytes | str]) -> Callable[[str], bytes]:
    """`read` over these files; a folder and a file that is not there fail as they do on a disk."""

    def read(path: str) -> bytes:
        name = path.removeprefix(f"{FOLDER}/")
        if path == FOLDER:
            raise IsADirectoryError(21, "Is a directory")
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        content = files[name]
        return content.encode() if isinstance(content, str) else content

    return read


def loaded(*texts: str, env: Mapping[str, str] = NO_ENV, **files: bytes | str) -> Stack:
    """The stack of these texts, each laid over the one before it. Further files have a dot where their keyword has two underscores."""
    stacks = {f"stack{number}.yml": textwrap.dedent(text) for number, text in enumerate(texts, 1)}
    extra = {name.replace("__", "."): content for name, content in files.items()}
    return load(list(stacks), env=env, read=reader({**stacks, **extra}), working_dir=FOLDER)


def planned(*texts: str, env: Mapping[str, str] = NO_ENV, **files: bytes | str) -> StackRequests:
    """The requests for the stack `shop` of these texts."""
    extra = {name.replace("__", "."): content for name, content in files.items()}
    return plan(loaded(*texts, env=env, **files), name="shop", env=env, read=reader(extra))


def service(lines: str, *, env: Mapping[str, str] = NO_ENV, **files: bytes | str) -> Service:
    """The one service `web` with these keys."""
    return loaded(stack_of(lines), env=env, **files).services[0]


def service_body(lines: str, rest: str = "", *, env: Mapping[str, str] = NO_ENV, **files: bytes | str) -> dict[str, Json]:
    """The body of the one service `web` with these keys, in a stack with `rest` below it."""
    return planned(stack_of(lines, rest), env=env, **files).services[0].body


def container(lines: str, rest: str = "", **files: bytes | str) -> dict[str, Json]:
    """The container's part of that body."""
    task = service_body(lines, rest, **files)["TaskTemplate"]
    assert isinstance(task, dict)
    spec = task["ContainerSpec"]
    assert isinstance(spec, dict)
    return spec


def stack_of(lines: str, rest: str = "") -> str:
    """A stack file whose one service `web` has an image and these keys."""
    keys = textwrap.indent(textwrap.dedent(lines).strip("\n"), "    ")
    return f"services:\n  web:\n    image: nginx\n{keys}\n{textwrap.dedent(rest)}"
