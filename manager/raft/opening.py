"""Opening a member's storage. A damaged LMDB file can kill the process that reads it (a page beyond the end of the file is a
SIGBUS), so a child process reads all of it first: its death, or what it finds, becomes an error with instructions.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from manager.raft.errors import StorageDamaged, WrongKey
from manager.raft.storage import DEFAULT_MAP_SIZE, LmdbStorage

_ROOT = Path(__file__).resolve().parents[2]
WRONG_KEY_STATUS = 3
DAMAGED_STATUS = 4


class Unlock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the child is told on its standard input; never in its arguments, which every user can see."""

    key: bytes
    cluster: str
    map_size: int


def open_storage(path: Path, *, key: bytes, cluster: str, map_size: int = DEFAULT_MAP_SIZE) -> LmdbStorage:
    """Check what is there, if anything is, and open it for writing. Blocks while it reads."""
    if holds_log(path):
        verify_in_child(path, Unlock(key=key, cluster=cluster, map_size=map_size))
    return LmdbStorage(path, key=key, cluster=cluster, map_size=map_size)


def holds_log(path: Path) -> bool:
    """Whether anything was ever opened there and still is."""
    log = path / "log" / "data.mdb"
    return log.exists() and log.stat().st_size > 0


def verify_in_child(path: Path, unlock: Unlock) -> None:
    """Raises `StorageDamaged` or `WrongKey`; returns if every record is what was written."""
    status, said = _run([sys.executable, "-m", "manager.raft.verify", str(path)], msgspec.msgpack.encode(unlock))
    if status == 0:
        return
    if status == WRONG_KEY_STATUS:
        raise WrongKey(path)
    if status == DAMAGED_STATUS:
        raise StorageDamaged(path, said)
    died = f"reading it ended with {signal.Signals(-status).name}" if status < 0 else f"checking it failed: {said}"
    raise StorageDamaged(path, died)


def _run(command: list[str], told: bytes) -> tuple[int, str]:
    """Exit status (negative: a signal) and the last line said."""
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, read_in, 0),
        (os.POSIX_SPAWN_DUP2, write_out, 1),
        (os.POSIX_SPAWN_DUP2, write_out, 2),
    ]
    environment = {"PYTHONPATH": str(_ROOT), "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    try:
        child = os.posix_spawn(command[0], command, environment, file_actions=actions)
    finally:
        os.close(read_in)
        os.close(write_out)
    with open(read_out, encoding="utf-8", errors="replace") as stdout:
        with contextlib.suppress(BrokenPipeError):  # it died before it listened; its status says how
            os.write(write_in, told)
        os.close(write_in)
        said = stdout.read().strip().splitlines()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said[-1] if said else "it said nothing"
