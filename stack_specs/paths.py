"""Paths of files that a stack names, made absolute without asking any file system."""

import re

_WINDOWS_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]{2}[^\\/.][^\\/]*[\\/][^\\/.][^\\/]*[\\/]")


def absolute(path: str, working_dir: str) -> str:
    """`path` as seen from `working_dir`, without `.`, `..` and doubled slashes; a path that is absolute stays as it is."""
    if path.startswith("/"):
        return path
    parts: list[str] = []
    for part in f"{working_dir}/{path}".split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def is_absolute(path: str) -> bool:
    """Whether this is an absolute path for Linux or for Windows."""
    return path.startswith("/") or _WINDOWS_ABSOLUTE.match(path) is not None
