"""A real cluster on one machine: daemons in namespaces of their own, each with the engine that it starts itself.

    with Cluster("demo", folder) as cluster:
        first = cluster.add("m1")
        first.start()
        first.docker("swarm", "init", "--advertise-addr", first.address)

Used by the demo, the benches and the integration tests; leaves no process, mount or namespace behind.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from integration.leftovers import end_all, mounts_under, processes_of
from integration.netlab import Engine, Host, Lab, at_once, end

REPOSITORY = Path(__file__).resolve().parents[1]
READY_WITHIN = 60.0
_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class CommandFailed(Exception):
    """A command line that should have worked; carries what it said."""

    def __init__(self, command: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"{' '.join(command)} exited {status}: {said}")
        self.status, self.said = status, said


def run(command: Sequence[str], *, stdin: bytes | None = None, timeout: float = 120, env: dict[str, str] | None = None) -> str:
    """Its output; raises CommandFailed with what it said otherwise."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False, env=env)
    if done.returncode:
        raise CommandFailed(command, done.returncode, (done.stderr + done.stdout).decode(errors="replace").strip())
    return done.stdout.decode(errors="replace").strip()


def wait_until(true: Callable[[], Any], *, what: str, seconds: float = 30, every: float = 0.05) -> Any:
    """The first truthy answer. Raises TimeoutError saying what was waited for and how it stood last."""
    deadline = time.monotonic() + seconds
    answer: Any = None
    problem = ""
    while time.monotonic() < deadline:
        try:
            if answer := true():
                return answer
        except (CommandFailed, OSError, LookupError, ValueError) as not_yet:
            problem = str(not_yet)
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds:g} s (last: {answer!r} {problem})")


class Daemon:
    """One `shoald` on one host."""

    def __init__(self, host: Host, name: str, folder: Path) -> None:
        self.host = host
        self.name = name
        self.folder = folder
        self.address = host.address
        self.socket = folder / "run" / "shoal.sock"
        self.url = f"unix://{self.socket}"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.host_engine: Engine | None = None
        """One that it did not start itself."""

    # -- life ------------------------------------------------------------------------------------------------------------------------
    def start(self, *flags: str, wait: bool = True, activated: socket.socket | None = None, without: str = "") -> "Daemon":
        """`activated`: a listening socket that it is given the way systemd does it.

        `without`: a capability. An engine that it started would lack it too, so one is started for it.
        """
        if without:
            self.host_engine = self.host_engine or self.host.engine(self.folder.with_name(f"{self.name}-engine"))
            flags = ("--engine", f"unix://{self.host_engine.socket}", *flags)
        self.folder.mkdir(parents=True, exist_ok=True)
        command = (
            *(sys.executable, "-m", "node_agent.main", "-H", self.url, "--hostname", self.name),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "run")),
            *("--pidfile", str(self.folder / "run" / "shoald.pid"), "--engine", "dockerd", *flags),
        )
        handed = () if activated is None else (activated.fileno(),)
        given = () if activated is None else (sys.executable, "-c", _AS_SYSTEMD, str(activated.fileno()))
        given = ("setpriv", f"--bounding-set=-{without}", *given) if without else given
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self.process = self.host.start(*given, *command, log=self.log, env=environment, pass_fds=handed)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        def answers() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"shoald on {self.name} ended with {self.process.returncode}: {self.tail()}")
            return self.docker("version", "--format", "{{.Server.Version}}") != ""

        wait_until(answers, what=f"shoald on {self.name} answers", seconds=READY_WITHIN)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        os.kill(self._pid(), signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        os.kill(self._pid(), signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid(), signal.SIGCONT)

    @property
    def engine_pid(self) -> int:
        """Of the engine that it started; 0 between two."""
        file = self.folder / "run" / "engine" / "dockerd.pid"
        return int(file.read_text()) if file.exists() else 0

    def kill_engine(self) -> int:
        """kill -9 of that engine; returns which process it was."""
        pid = self.engine_pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> float:
        """SIGTERM; returns how long it took to end."""
        assert self.process is not None
        begun = time.monotonic()
        end(self.process, 30)
        return time.monotonic() - begun

    def _pid(self) -> int:
        """`nsenter` becomes what it starts, so the process is the daemon."""
        assert self.process is not None
        return self.process.pid

    @property
    def pid(self) -> int:
        return self._pid()

    # -- asking -----------------------------------------------------------------------------------------------------------------------
    def docker(self, *arguments: str, stdin: bytes | None = None, timeout: float = 120) -> str:
        """The stock CLI on this daemon's socket."""
        return run(("docker", "-H", self.url, *arguments), stdin=stdin, timeout=timeout)

    @contextmanager
    def listening(self, *arguments: str) -> Iterator[Callable[[], list[str]]]:
        """A command of the stock CLI that goes on beside the block; what it has said so far."""
        said = self.folder / f"said-{arguments[0]}"
        with said.open("wb") as out:
            process = subprocess.Popen(("docker", "-H", self.url, *arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield lambda: said.read_text().split()
        finally:
            end(process)

    def shoal(self, *arguments: str, stdin: bytes | None = None, timeout: float = 120) -> str:
        return run((sys.executable, "-m", "cli.main", "-H", self.url, *arguments), stdin=stdin, timeout=timeout)

    def get(self, path: str) -> Any:
        """GET on the API, decoded."""
        return json.loads(run(("curl", "-sS", "--fail-with-body", "--unix-socket", str(self.socket), f"http://localhost{path}")))

    def tasks(self, service: str, state: str = "running") -> list[dict[str, Any]]:
        """The tasks of a service that are observed in a state and desired so."""
        filters = json.dumps({"service": {service: True}, "desired-state": {"running": True}})
        found: list[dict[str, Any]] = self.get(f"/tasks?filters={_quoted(filters)}")
        return [task for task in found if task["Status"]["State"] == state]

    def wait_running(self, service: str, count: int, *, seconds: float = 60) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]] | None:
            found = self.tasks(service)
            return found if len(found) == count else None

        found: list[dict[str, Any]] = wait_until(enough, what=f"{count} tasks of {service} run", seconds=seconds)
        return found

    @property
    def engine_url(self) -> str:
        return f"unix://{self.folder / 'run' / 'engine' / 'docker.sock'}"

    def engine(self, *arguments: str) -> str:
        """The stock CLI on the engine behind the daemon."""
        return run(("docker", "-H", self.engine_url, *arguments))

    def import_image(self, name: str, archive: Path, *changes: str) -> None:
        self.docker("import", *(part for change in changes for part in ("-c", change)), str(archive), name)

    # -- the end ------------------------------------------------------------------------------------------------------------------------
    def destroy(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        with suppress(CommandFailed, subprocess.TimeoutExpired, OSError):
            if containers := self.engine("ps", "-aq").split():
                self.engine("rm", "-f", *containers)
        end_all(processes_of(self.folder))  # its engine, the shims, the name server: left running on purpose
        for mount in mounts_under(self.folder):
            subprocess.run(("umount", "-l", mount), capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    """Daemons on one switch."""

    def __init__(self, tag: str, folder: Path, *, network: str = "10.99.0") -> None:
        self.lab = Lab(tag)
        self.folder = folder
        self.daemons: dict[str, Daemon] = {}
        self._network = network

    def __enter__(self) -> "Cluster":
        self.lab.create()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.destroy()

    def destroy(self) -> None:
        at_once(Daemon.destroy, self.daemons.values())
        self.daemons.clear()
        self.lab.destroy()

    def add(self, name: str, *, prefix: int = 24) -> Daemon:
        """A host that plays a machine, with a daemon that is not yet started."""
        host = self.lab.host(name, f"{self._network}.{len(self.lab.hosts) + 1}/{prefix}")
        daemon = self.daemons[name] = Daemon(host, name, self.folder / name)
        return daemon

    def client(self, name: str = "client") -> Host:
        """A host outside of the swarm."""
        return self.lab.host(name, f"{self._network}.{len(self.lab.hosts) + 101}/24")

    def bring_up(
        self, *flags: str, managers: int = 3, workers: int = 2, archive: Path | None = None, image: str = "shoal-lab", without: str = ""
    ) -> Daemon:
        """A whole swarm, its daemons started with these flags and without this capability; returns its first manager."""
        names = [*(f"m{number}" for number in range(1, managers + 1)), *(f"w{number}" for number in range(1, workers + 1))]
        daemons = [self.add(name) for name in names]

        def ready(daemon: Daemon) -> None:
            daemon.start(*flags, without=without)
            if archive is not None:
                daemon.import_image(image, archive, "ENV PATH=/bin")

        at_once(ready, daemons)
        first = daemons[0]
        first.docker("swarm", "init", "--advertise-addr", first.address)
        for manager in daemons[1:managers]:
            self.join(manager, first, "manager")
        at_once(lambda worker: self.join(worker, first, "worker"), daemons[managers:])
        return first

    @staticmethod
    def join(daemon: Daemon, manager: Daemon, role: str) -> None:
        token = manager.docker("swarm", "join-token", "-q", role)
        daemon.docker("swarm", "join", "--token", token, "--advertise-addr", daemon.address, f"{manager.address}:2377")

    def leader(self, among: Sequence[Daemon] | None = None) -> Daemon:
        """The manager that leads, as one that lives says."""
        for daemon in among or self.daemons.values():
            if daemon.process is None or daemon.process.poll() is not None or not daemon.name.startswith("m"):
                continue
            with suppress(CommandFailed):
                for node in daemon.get("/nodes"):
                    if node.get("ManagerStatus", {}).get("Leader"):
                        return self.daemons[node["Description"]["Hostname"]]
        raise LookupError("no manager knows a leader")


def busybox_archive(folder: Path, extra: Callable[[Path], None] | None = None) -> Path:
    """A root file system of busybox alone, as a tar file to import: there is no registry to take an image from."""
    root = folder / "root"
    for name in ("bin", "etc", "tmp", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin" / "busybox")
    for applet in run((str(root / "bin" / "busybox"), "--list")).split():
        if applet != "busybox" and not (root / "bin" / applet).is_symlink():
            (root / "bin" / applet).symlink_to("busybox")
    if extra is not None:
        extra(root)
    archive = folder / "image.tar"
    run(("tar", "-C", str(root), "-cf", str(archive), "."))
    return archive


def _quoted(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in text)
