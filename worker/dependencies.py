"""Secrets and configs on this node: values in memory, files on a tmpfs for as long as a task uses them, nothing on a disk.

The folder is a tmpfs made by `worker.tmpfs`; it outlives the daemon, so containers that run on through a restart keep their files.
"""

import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask
from cluster.api.ids import Id
from worker.plan import HostFacts, UnusableTask, WantedFile, missing_files, wanted_files

_log = logging.getLogger(__name__)


class Dependencies:
    """One folder a task under `folder`; each file is bound into the container on its own, read-only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secrets: Mapping[Id, AssignedSecret] = {}
        self._configs: Mapping[Id, AssignedConfig] = {}

    def supply(self, secrets: Mapping[Id, AssignedSecret], configs: Mapping[Id, AssignedConfig]) -> None:
        """These are all that the node may know from now on."""
        self._secrets, self._configs = secrets, configs

    def missing(self, task: AssignedTask) -> tuple[str, ...]:
        """What has not come yet."""
        return missing_files(task, self._secrets, self._configs)

    def write(self, task: AssignedTask, host: HostFacts) -> tuple[tuple[str, str, bool], ...]:
        """Write the task's files; (host path, path in the container, read-only) of each. Raises UnusableTask, TemplateError."""
        wanted = wanted_files(task, host, self._secrets, self._configs)
        if not wanted:
            return ()
        folder = self._folder / task.id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = []
        for number, file in enumerate(wanted):
            path = folder / str(number)
            _write(path, file)
            files.append((str(path), file.target, True))
        return tuple(files)

    def verify(self, task: AssignedTask, host: HostFacts) -> None:
        """After a restart: the files of a running container hold what they should. Written in place, as the container has them bound."""
        wanted = wanted_files(task, host, self._secrets, self._configs)
        for number, file in enumerate(wanted):
            path = self._folder / task.id / str(number)
            if not path.exists() or path.read_bytes() != file.content:
                _log.warning("file %s of task %s was changed or lost; written again", file.target, task.id)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _write(path, file)

    def release(self, task_id: Id) -> None:
        """The task uses its files no more."""
        shutil.rmtree(self._folder / task_id, ignore_errors=True)

    def keep_only(self, task_ids: Collection[Id]) -> None:
        """Files of tasks that nobody knows any more go."""
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.name not in task_ids:
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, file: WantedFile) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as out:
        out.write(file.content)
        if (file.uid, file.gid) != (os.geteuid(), os.getegid()):
            _give_away(handle, file)
        os.fchmod(handle, file.mode & 0o7777)


def _give_away(handle: int, file: WantedFile) -> None:
    try:
        os.fchown(handle, file.uid, file.gid)
    except PermissionError as error:
        raise UnusableTask(f"cannot give {file.target} to {file.uid}:{file.gid}: {error.strerror}; run shoald as root") from error
