"""The plane's files in the runtime folder: what it remembers across a restart of the daemon, all of it in one; each task's resolv.conf."""

import os
from pathlib import Path

import msgspec

from node_agent.network.netns import identity, of_pid
from node_agent.network.view import Known, LocalTask

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class _File(msgspec.Struct, frozen=True, kw_only=True):
    boot: str
    known: Known


def save(path: Path, known: Known) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.msgpack.encode(_File(boot=_BOOT.read_text(), known=known)))
    os.replace(beside, path)


def load(path: Path) -> Known:
    """What was known; nothing after a boot, or when the file is of another version. Tasks whose process is gone count as not running."""
    try:
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return Known()
    if kept.boot != _BOOT.read_text():
        return Known()
    tasks = {key: _still_running(task) for key, task in kept.known.tasks.items()}
    return msgspec.structs.replace(kept.known, tasks=tasks, silent=frozenset())


def _still_running(task: LocalTask) -> LocalTask:
    if task.pid and identity(of_pid(task.pid)) != task.namespace:
        return msgspec.structs.replace(task, pid=0, namespace=0)
    return task


def keep_resolv_conf(folder: Path, text: str) -> Path:
    """For a task to mount; returns where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "resolv.conf"
    path.write_text(text)
    path.chmod(0o644)
    return path


def forget_resolv_conf(folder: Path) -> None:
    (folder / "resolv.conf").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
