"""The plane's files in the runtime folder: what it remembers across a restart of the daemon, all of it in one; each task's resolv.conf."""

import logging
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cluster.api.endpoint import ServiceEndpoint
from cluster.api.ids import Id
from node_agent.network.netns import identity, of_pid
from node_agent.network.view import Known, LocalTask

log = logging.getLogger(__name__)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LENGTH = struct.Struct("!I")


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """The file is one step after the other. Each has everything but services, and of these the ones that changed."""

    boot: str
    known: Known
    gone: tuple[Id, ...] = ()


class Memory:
    """The file with what is known. Of a thousand services one changes: it is written behind, until that is as long as the whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Mapping[Id, ServiceEndpoint] | None = None
        """The services that the file leads to; None: it has to be written whole."""
        self._kept: Known | None = None
        self._whole = 0
        self._behind = 0

    def load(self) -> Known:
        """What was known; nothing after a boot, or when the file is of another version.

        Tasks whose process is gone count as not running.
        """
        known, services = Known(), dict[Id, ServiceEndpoint]()
        for step in self._steps():
            if step.boot != _BOOT.read_text():
                return Known()
            services |= step.known.view.services
            for gone in step.gone:
                services.pop(gone, None)
            known = step.known
        tasks = {key: _still_running(task) for key, task in known.tasks.items()}
        return msgspec.structs.replace(_with(known, services), tasks=tasks, silent=frozenset())

    def _steps(self) -> Iterator[_Step]:
        """As far as they are whole: the last one may have been cut short."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return
        at = 0
        while at + _LENGTH.size <= len(content):
            (length,) = _LENGTH.unpack_from(content, at)
            at += _LENGTH.size
            try:
                yield msgspec.msgpack.decode(content[at : at + length], type=_Step)
            except msgspec.DecodeError:
                return
            at += length

    def lacks(self, known: Known) -> bool:
        return known is not self._kept

    def keep(self, known: Known) -> None:
        """Save, or say in the log that it cannot be done and try again the next time."""
        try:
            self.save(known)
            self._kept = known
        except OSError as problem:
            log.warning("data plane: what is known cannot be kept for the next start: %s", problem)

    def save(self, known: Known) -> None:
        """After a failure (OSError) the next one writes the whole."""
        had, services = self._written, known.view.services
        self._written = None
        if had is None or self._behind > self._whole or not self._append(had, known):
            self._replace(known)
        self._written = services

    def _append(self, had: Mapping[Id, ServiceEndpoint], known: Known) -> bool:
        """False when there is no file to append to."""
        services = known.view.services
        changed = {key: service for key, service in services.items() if had.get(key) is not service}
        content = _frame(_with(known, changed), tuple(key for key in had if key not in services))
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.write(file, content) != len(content):
                return False
        finally:
            os.close(file)
        self._behind += len(content)
        return True

    def _replace(self, known: Known) -> None:
        """Whole or not at all."""
        content = _frame(known, ())
        beside = self._path.with_suffix(".new")
        beside.write_bytes(content)
        os.replace(beside, self._path)
        self._whole, self._behind = len(content), 0

    def forget(self) -> None:
        self._written = self._kept = None
        self._path.unlink(missing_ok=True)


def _with(known: Known, services: Mapping[Id, ServiceEndpoint]) -> Known:
    return msgspec.structs.replace(known, view=msgspec.structs.replace(known.view, services=services))


def _frame(known: Known, gone: tuple[Id, ...]) -> bytes:
    content = msgspec.msgpack.encode(_Step(boot=_BOOT.read_text(), known=known, gone=gone))
    return _LENGTH.pack(len(content)) + content


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
