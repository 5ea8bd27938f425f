"""A real engine in a network namespace of its own with the API's front before it, and both docker CLIs as clients."""

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIS = {"cli28": "/usr/local/bin/docker", "cli20": "/usr/bin/docker"}
APPLETS = ("sh", "ls", "cat", "echo", "sleep", "top", "ps", "true", "touch", "grep", "head", "wc", "dd", "stty", "rm", "stat", "env")


def wait_until(holds: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Dockerd:
    """An engine that a test may kill and start again."""

    home: Path
    namespace: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        return str(self.home / "engine.sock")

    def start(self) -> None:
        with (self.home / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.namespace}", "dockerd", "--data-root", str(self.home / "data")),
                    *("--exec-root", str(self.home / "exec"), "-p", str(self.home / "pid"), "-H", f"unix://{self.socket}"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: docker_at(self.socket, CLIS["cli20"], "version").returncode == 0, "dockerd answers")

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)


def docker_at(
    socket: str, cli: str, *words: str, stdin: bytes = b"", seconds: float = 30.0, **env: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{socket}", "HOME": str(Path(socket).parent), **env}
    return subprocess.run([cli, *words], input=stdin, capture_output=True, timeout=seconds, env=environment, check=False)


@dataclass
class Docker:
    """The docker CLI on our socket: called, it insists on success and returns what was printed."""

    cli: str
    socket: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def speaks_142(self) -> bool:
        """Whether this client is of the newer kind."""
        return self.cli == CLIS["cli28"]

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return docker_at(self.socket, self.cli, *words, stdin=stdin, **self.env)

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.decode()}{done.stdout.decode()}"
        return done.stdout.decode().strip()

    def raw(self, *words: str, stdin: bytes = b"") -> bytes:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    @contextmanager
    def beside(self, *words: str, stdin: IO[bytes] | int | None = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
        """A client that runs beside the block, and not longer."""
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{self.socket}", **self.env}
        with subprocess.Popen([self.cli, *words], stdin=stdin, stdout=subprocess.PIPE, env=environment) as client:
            try:
                yield client
            finally:
                client.kill()

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode != 0, f"docker {' '.join(words)} should have failed"
        return done.stderr.decode()

    def terminal(self, *words: str, size: str = "33x111") -> str:
        """What it prints on a terminal of rows x columns."""
        rows, columns = size.split("x")
        command = f"stty rows {rows} cols {columns}; exec {self.cli} {' '.join(words)}"
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{self.socket}", "TERM": "xterm", **self.env}
        done = subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            env=environment,
            check=False,
        )
        return done.stdout.decode().replace("\r", "").replace("\0", "")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    if os.geteuid() != 0:
        pytest.skip("the proxy is tried on a real engine, which needs root")
    if shutil.which("dockerd") is None:
        pytest.skip("the proxy is tried on a real engine: install docker.io")
    home, namespace = tmp_path_factory.mktemp("px"), f"shoal-px-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    subprocess.run(["nsenter", f"--net=/run/netns/{namespace}", "ip", "link", "set", "lo", "up"], check=True)
    dockerd = Dockerd(home, namespace)
    try:
        dockerd.start()
        imported = docker_at(dockerd.socket, CLIS["cli20"], "import", "-", "bb", stdin=busybox(home / "rootfs"))
        assert imported.returncode == 0, imported.stderr.decode()
        yield dockerd
    finally:
        dockerd.stop()
        subprocess.run(["umount", "-l", str(home / "data")], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", namespace], check=True)
        shutil.rmtree(home / "data", ignore_errors=True)


def busybox(root: Path) -> bytes:
    """A root file system with nothing but busybox, as a tar archive."""
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    archive = root.parent / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")
    return archive.read_bytes()


@dataclass(frozen=True)
class Front:
    """The front, in a process of its own on uvloop."""

    socket: str
    pid: int
    idle: int = 0

    @property
    def connections(self) -> int:
        """How many sockets it has open beyond those of an idle front."""
        return self.sockets - self.idle

    @property
    def sockets(self) -> int:
        held = Path(f"/proc/{self.pid}/fd")
        return sum(os.readlink(fd).startswith("socket:") for fd in held.iterdir() if fd.is_symlink())

    @property
    def rss(self) -> int:
        """The most memory it ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


@pytest.fixture(scope="session")
def front(engine: Dockerd) -> Iterator[Front]:
    path = str(engine.home / "shoal.sock")
    with (engine.home / "front.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "integration/proxy/front.py"), engine.socket, path],
            stderr=log,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_until(lambda: os.path.exists(path), "the front listens")
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            first.sendall(b"GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
            while first.recv(4096):
                pass
        yield Front(path, process.pid, Front(path, process.pid).sockets)
        assert process.poll() is None, "the front died"
    finally:
        end(process)
    complaints = (engine.home / "front.log").read_text()
    assert "Traceback" not in complaints, complaints


@pytest.fixture(scope="session", params=CLIS.values(), ids=CLIS)
def docker(request: pytest.FixtureRequest, front: Front) -> Docker:
    if not os.path.exists(request.param):
        pytest.skip(f"no docker CLI at {request.param}")
    return Docker(request.param, front.socket)


@pytest.fixture(scope="session")
def newest(front: Front) -> Docker:
    """The newer CLI alone, for what does not depend on the client's age."""
    return Docker(CLIS["cli28"], front.socket)


@pytest.fixture(scope="session")
def direct(engine: Dockerd) -> Docker:
    """The engine without us between."""
    return Docker(CLIS["cli20"], engine.socket)


@pytest.fixture
def container(docker: Docker, direct: Docker) -> Iterator[str]:
    """A container that sleeps."""
    name = docker("run", "-d", "bb", "sleep", "1000")
    yield name
    direct.run("rm", "-f", name)
