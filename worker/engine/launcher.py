"""Start an engine of our own where none runs: an installed dockerd with its own folders, in its own session.

It outlives this daemon as its containers do; a restarted one finds it by its pid file and goes on watching it. If it dies it is
started again, and `live-restore` lets its containers run through that. It lives in the network namespace that we live in.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from worker.engine.docker_http import DockerLink
from worker.ports import EngineError, EngineGone

HOST_FILE = Path("/etc/docker/daemon.json")
READY_WITHIN = 60.0
_POLL = 0.1
_OURS = frozenset({"data-root", "exec-root", "pidfile", "hosts", "host", "live-restore", "graph"})
_CONTAINERD_ENDS_WITHIN = 5.0
_log = logging.getLogger(__name__)


class EngineMissing(EngineError):
    """There is no engine here and none to start."""

    def __init__(self) -> None:
        super().__init__(
            "no container engine found: DOCKER_HOST is not set, /var/run/docker.sock and /run/podman/podman.sock do not answer, and "
            "dockerd is not installed. Install one (Debian, Ubuntu: apt-get install docker.io) or pass --engine unix:///path/of/engine.sock"
        )


class EngineLauncher:
    """One dockerd under `state`/engine and `runtime`/engine. `run` keeps it running; `wait_ready` says when it answers."""

    def __init__(
        self,
        *,
        state: Path,
        runtime: Path,
        clock: Clock,
        rng: Random,
        command: Sequence[str] = ("dockerd",),
        settings: Mapping[str, object] = {},
    ) -> None:
        self._data = state / "engine"
        self._exec = runtime / "engine"
        self.pidfile = self._exec / "dockerd.pid"
        self._log = self._data / "dockerd.log"
        self.socket = self._exec / "docker.sock"
        self.address = f"unix://{self.socket}"
        self._clock = clock
        self._backoff = Backoff(first=0.5, cap=30.0, rng=rng)
        self._command = tuple(command)
        self._settings = settings
        self._file = self._exec / "daemon.json"
        self._file_text = ""
        self._pid = Latest(0)

    @property
    def pid(self) -> int:
        """Of the dockerd that runs now; 0 between two."""
        return self._pid.value

    def installed(self) -> bool:
        return shutil.which(self._command[0]) is not None

    async def run(self) -> None:
        """Until cancelled; the engine stays. Raises EngineError for settings of the host that no dockerd can have."""
        self._file_text = json.dumps(settings_of(_host_settings(HOST_FILE), self._settings))
        while True:
            started = self._clock.monotonic()
            pid = self.running()
            if not pid:
                await self._let_containerd_end()
                pid = self._spawn()
            self._pid.set(pid)
            await _wait_exit(pid)
            self._pid.set(0)
            if self._clock.monotonic() - started > READY_WITHIN:
                self._backoff.reset()
            delay = self._backoff.next()
            _log.error("dockerd (process %d) ended: %s; starting it again in %.1f s", pid, self._last_words(), delay)
            await self._clock.sleep(delay)

    async def wait_ready(self) -> None:
        """Until it answers. Raises EngineGone with its last words."""
        link = DockerLink(self.address)
        try:
            if await first_of(lambda: self._wait_answer(link), lambda: self._clock.sleep(READY_WITHIN)) == 1:
                raise EngineGone(f"dockerd does not answer on {self.socket}: {self._last_words()}")
        finally:
            await link.close()

    async def stop(self) -> None:
        """End the engine itself; running containers go on without it (`purge` stops them first)."""
        pid = self.running()
        if pid:
            os.kill(pid, signal.SIGTERM)
            await _wait_exit(pid)

    async def _wait_answer(self, link: DockerLink) -> None:
        while True:
            if self.socket.is_socket():
                try:
                    await link.negotiate()
                    return
                except EngineGone:
                    pass
            await self._clock.sleep(_POLL)

    async def _let_containerd_end(self) -> None:
        """A killed dockerd takes its containerd along, but a new one that still sees its pid file waits 15 s for it and gives up."""
        pidfile = self._exec / "exec" / "containerd" / "containerd.pid"
        pid = pid_in(pidfile)
        if pid and lives(pid, os.fsencode(str(pidfile.parent))):
            await first_of(lambda: _wait_exit(pid), lambda: self._clock.sleep(_CONTAINERD_ENDS_WITHIN))
        if pid and not lives(pid, os.fsencode(str(pidfile.parent))):
            pidfile.unlink(missing_ok=True)

    def _spawn(self) -> int:
        for folder in (self._data, self._exec):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        path = shutil.which(self._command[0])
        if path is None:
            raise EngineMissing
        self._file.touch(mode=0o600)  # the host's may hold a proxy's password
        self._file.write_text(self._file_text)
        self.pidfile.unlink(missing_ok=True)  # dockerd refuses to start on the file of a process id that is taken again
        out = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(path, self.arguments(), os.environ, file_actions=out, setsid=True)
        _log.info("started %s as process %d, log in %s", path, pid, self._log)
        return pid

    def arguments(self) -> list[str]:
        return [
            *self._command,
            f"--data-root={self._data / 'data'}",
            f"--exec-root={self._exec / 'exec'}",
            f"--pidfile={self.pidfile}",
            f"--host={self.address}",
            f"--config-file={self._file}",
        ]

    def running(self) -> int:
        """The dockerd of our folders that runs already; 0 for none."""
        pid = pid_in(self.pidfile)
        return pid if pid and lives(pid, os.fsencode(f"--pidfile={self.pidfile}")) else 0

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return lines[-1] if lines else "its log is empty"


def settings_of(host: Mapping[str, object], given: Mapping[str, object]) -> Mapping[str, object]:
    """The daemon.json of an engine of ours: what the host's says, but for where it lives and listens; `given` wins. Pure."""
    kept = {key: value for key, value in host.items() if key not in _OURS and not key.startswith("tls")}
    return {**kept, "live-restore": True, **given}


def _host_settings(file: Path) -> Mapping[str, object]:
    """Raises EngineError for a file that dockerd would refuse."""
    try:
        found = json.loads(file.read_bytes() or b"{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as wrong:
        raise EngineError(f"cannot start dockerd with {file}: {wrong}; correct the file or take it away") from wrong
    if not isinstance(found, dict):
        raise EngineError(f"cannot start dockerd with {file}: it is not a JSON object; correct the file or take it away")
    return found


def pid_in(file: Path) -> int:
    """0 for none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def lives(pid: int, word: bytes) -> bool:
    """Whether it is the process that was meant: process ids are used again, and a dead one that nobody reaped has no arguments."""
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def _wait_exit(pid: int) -> None:
    """Until the process is no more, whoever its parent is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(handle, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    _reap(pid)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # it is not our child if a daemon before us started it
        os.waitpid(pid, os.WNOHANG)
