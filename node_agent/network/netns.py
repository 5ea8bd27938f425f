"""Entering a network namespace for the length of a block: sockets made inside stay there, wherever they are used later.

The kernel keeps the namespace per thread. Nothing may be awaited inside the block.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


def _setns(fd: int, path: str) -> None:
    if _LIBC.setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


@contextmanager
def inside(path: str | Path | None) -> Iterator[None]:
    """Be in this namespace; None stays where we are."""
    if path is None:
        yield
        return
    wanted = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(wanted, str(path))
            try:
                yield
            finally:
                _setns(before, _OWN)
        finally:
            os.close(before)
    finally:
        os.close(wanted)


def of_pid(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


def identity(path: str | Path) -> int:
    """The namespace's inode: two paths with the same one lead to the same namespace. 0: there is none there (any more)."""
    try:
        return os.stat(path).st_ino
    except (FileNotFoundError, ProcessLookupError):
        return 0


def enter_command(namespace: Path | None) -> tuple[str, ...]:
    """What to put before a command so that it runs in the namespace."""
    return () if namespace is None else ("nsenter", f"--net={namespace}")
