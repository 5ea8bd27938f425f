"""A folder that is memory: secrets and configs are written there and nowhere else."""

import ctypes
import os
import shutil
from pathlib import Path

from cluster.api.errors import ShoalError

_NOSUID, _NODEV, _DETACH = 0x2, 0x4, 0x2


class NotInMemory(ShoalError):
    """The folder for secrets would be on a disk."""


def ensure_tmpfs(folder: Path) -> None:
    """Make `folder` a tmpfs of its own, once: a restarted daemon finds it with the files of the containers that run on.

    Not `noexec`: a config may be a container's entry point. Without the right to mount, a folder that is in memory already will do.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.resolve().is_mount() and in_memory(folder):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    options = b"mode=0700"
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _NOSUID | _NODEV, options) == 0:
        return
    code = ctypes.get_errno()
    if not in_memory(folder):
        raise NotInMemory(
            f"cannot mount a tmpfs on {folder} ({os.strerror(code)}) and it is on a disk, where secrets must not go; "
            "run shoald as root or give it an --exec-root in memory"
        )


def drop_tmpfs(folder: Path) -> None:
    """The node has left the swarm: nothing of its secrets stays. Containers that still had them bound keep their own view to their end."""
    if folder.is_mount():
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(folder), _DETACH)
    shutil.rmtree(folder, ignore_errors=True)


def in_memory(folder: Path) -> bool:
    """Whether the file system that holds it keeps nothing on a disk."""
    wanted = folder.resolve()
    best, kind = Path("/"), ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mounted = Path(left.split()[4].encode().decode("unicode_escape"))
        if mounted.parts == wanted.parts[: len(mounted.parts)] and len(mounted.parts) >= len(best.parts):
            best, kind = mounted, right.split()[0]  # of mounts on one place the last is on top
    return kind in ("tmpfs", "ramfs")
