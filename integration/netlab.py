"""Hosts on one machine: network namespaces on a bridge, each with its own dockerd if wanted. Used by tests and by the demo.

    with Lab("vip") as lab:
        one = lab.host("one", "10.99.0.1/24")
        engine = one.engine(folder)

Everything lives in namespaces named `shoal-<tag>-<pid>-*`, the bridge too, so that several runs on one machine don't meet, and is
gone after the block: processes by the ids that were recorded, mounts and folders of engines, the namespaces themselves. Nothing of
the machine's own network is touched.
"""

import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from integration.leftovers import mounts_under
from node_agent.network.netns import inside

T = TypeVar("T")
R = TypeVar("R")
IMAGE = "shoal-lab"
"""The image that `Engine.import_image` makes: busybox, its applets, nothing else."""


def why_not() -> str:
    """Why the lab cannot be used here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    missing = [tool for tool in ("ip", "nsenter", "nft") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def why_no_engine() -> str:
    if reason := why_not():
        return reason
    missing = [tool for tool in ("dockerd", "docker", "busybox") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def at_once(do: Callable[[T], R], each: Iterable[T]) -> list[R]:
    """The answers, in their order. Raises what the first of them raised, once all have ended."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(do, each))


def own_name(tag: str) -> str:
    """What this process calls its namespaces of that tag."""
    return f"shoal-{tag}-{os.getpid()}"


def left_behind(tag: str) -> Sequence[str]:
    """Namespaces `<tag>-<pid>` and `<tag>-<pid>-*` whose process is no more."""
    folder = Path("/run/netns")
    names = (path.name for path in folder.glob(f"{tag}-*")) if folder.is_dir() else ()
    owners = ((name, name.removeprefix(f"{tag}-").split("-", 1)[0]) for name in names)
    return [name for name, pid in owners if pid.isdecimal() and not Path(f"/proc/{pid}").exists()]


class Lab:
    """A switch and the hosts on it."""

    def __init__(self, tag: str) -> None:
        self._tag = f"shoal-{tag}"
        self._prefix = own_name(tag)
        self._switch = f"{self._prefix}-net"
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> "Lab":
        self.create()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.destroy()

    def create(self) -> None:
        for left in left_behind(self._tag):
            with suppress(RuntimeError):
                _run("ip", "netns", "del", left)
        _run("ip", "netns", "add", self._switch)
        _run("ip", "-n", self._switch, "link", "add", "switch", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "switch", "up")
        for words in ("add table bridge lab", "add chain bridge lab cut { type filter hook forward priority 0; }"):
            self._nft(words)

    def host(self, name: str, address: str) -> "Host":
        """A new host on the switch; `address` with its prefix length."""
        host = Host(f"{self._prefix}-{name}", address)
        _run("ip", "netns", "add", host.name)
        port = self.port(name)
        _run("ip", "link", "add", "eth0", "netns", host.name, "type", "veth", "peer", "name", port, "netns", self._switch)
        _run("ip", "-n", self._switch, "link", "set", port, "master", "switch", "up")
        _run("ip", "-n", host.name, "link", "set", "lo", "up")
        _run("ip", "-n", host.name, "addr", "add", address, "dev", "eth0")
        _run("ip", "-n", host.name, "link", "set", "eth0", "up")
        self.hosts[name] = host
        return host

    def on_the_wire(self) -> AbstractContextManager[None]:
        """Sockets made in the block are the switch's: a packet socket sees all that passes between the hosts."""
        return inside(Path("/run/netns") / self._switch)

    def port(self, host: str) -> str:
        """The switch's interface towards a host."""
        return f"p-{host}"[:15]

    def remove(self, name: str) -> None:
        """The host is switched off for good."""
        self.hosts.pop(name).destroy()

    def unplug(self, name: str) -> None:
        """The host is alone from now on, though its own interface looks as before."""
        _run("ip", "-n", self._switch, "link", "set", self.port(name), "nomaster")

    def plug(self, name: str) -> None:
        _run("ip", "-n", self._switch, "link", "set", self.port(name), "master", "switch")

    def cut(self, sender: str, receiver: str) -> None:
        """What one host sends the other does not arrive from now on; the other direction is left as it is."""
        ends = (f"p-{name}"[:15] for name in (sender, receiver))
        self._nft("add rule bridge lab cut iifname {} oifname {} drop".format(*ends))

    def heal(self) -> None:
        """Undo every `cut`."""
        self._nft("flush chain bridge lab cut")

    def _nft(self, words: str) -> None:
        _run("ip", "netns", "exec", self._switch, "nft", words)

    def destroy(self) -> None:
        """Hosts with all that runs on them, and the switch."""
        at_once(Host.destroy, self.hosts.values())
        self.hosts.clear()
        for namespace in Path("/run/netns").glob(f"{self._prefix}-*") if Path("/run/netns").is_dir() else ():
            with suppress(RuntimeError):
                _run("ip", "netns", "del", namespace.name)


class Host:
    """A network namespace that plays a machine."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address.split("/", maxsplit=1)[0]
        self.namespace = Path("/run/netns") / name
        self._processes: list[subprocess.Popen[bytes]] = []
        self._engines: list[Engine] = []

    def inside(self) -> AbstractContextManager[None]:
        """Sockets made in the block are this host's. Nothing may be awaited in it."""
        return inside(self.namespace)

    def command(self, *command: str) -> tuple[str, ...]:
        """`nsenter`, not `ip netns exec`: that one remounts /sys and hides the cgroups from an engine."""
        return ("nsenter", f"--net={self.namespace}", *command)

    def run(self, *command: str) -> str:
        return _run(*self.command(*command))

    def start(self, *command: str, log: Path, env: dict[str, str] | None = None, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """A process on this host; it ends with the host."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self._processes.append(process)
        return process

    def engine(self, folder: Path) -> "Engine":
        """A dockerd of its own, ready to answer."""
        engine = Engine(self, folder)
        self._engines.append(engine)
        engine.start()
        return engine

    def destroy(self) -> None:
        for engine in self._engines:
            engine.destroy()
        for process in self._processes:
            end(process)
        self._engines.clear()
        self._processes.clear()
        with suppress(RuntimeError):
            _run("ip", "netns", "del", self.name)


def end(process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    """Ask it to end, and end it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class Engine:
    """A dockerd with its own state, on one host."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._short = Path(tempfile.mkdtemp(prefix="lab-"))
        """Sockets have to have short paths."""
        self.socket = self._short / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = (
            *("dockerd", "-H", f"unix://{self.socket}", "--data-root", str(self._folder / "data")),
            *("--exec-root", str(self._short / "exec"), "-p", str(self._folder / "pid"), *flags),
        )
        self._process = self._host.start(*command, log=self._folder / "log")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(RuntimeError):
                self.docker("version")
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"dockerd did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            end(self._process, 30)
            self._process = None

    def restart(self, *flags: str) -> None:
        self.stop()
        self.start(*flags)

    def docker(self, *arguments: str) -> str:
        return _run("docker", "-H", f"unix://{self.socket}", *arguments).strip()

    def import_image(self, name: str = IMAGE) -> str:
        """A busybox image, made here: there is no registry to take one from."""
        archive = self._folder / "image.tar"
        root = self._folder / "root"
        (root / "bin").mkdir(parents=True, exist_ok=True)
        (root / "etc").mkdir(exist_ok=True)
        (root / "tmp").mkdir(exist_ok=True)
        shutil.copy(shutil.which("busybox") or "busybox", root / "bin" / "busybox")
        for applet in _run(str(root / "bin" / "busybox"), "--list").split():
            if applet != "busybox" and not (root / "bin" / applet).is_symlink():
                (root / "bin" / applet).symlink_to("busybox")
        with tarfile.open(archive, "w") as tar:
            tar.add(root, arcname=".")
        self.docker("import", "-c", "ENV PATH=/bin", str(archive), name)
        return name

    def pid_of(self, container: str) -> int:
        return self.facts(container)[0]

    def facts(self, container: str) -> tuple[int, dict[str, str]]:
        """Its process, and its address on each network by name."""
        found = json.loads(self.docker("inspect", container))[0]
        addresses = {name: network["IPAddress"] for name, network in found["NetworkSettings"]["Networks"].items()}
        return int(found["State"]["Pid"]), addresses

    def remove_containers(self) -> None:
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker("rm", "-f", *containers)

    def destroy(self) -> None:
        if self._process is not None:
            with suppress(RuntimeError):
                self.remove_containers()
            self.stop()
        for folder in (self._short, self._folder):
            for mount in mounts_under(folder):
                with suppress(RuntimeError):
                    _run("umount", "-l", mount)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def in_namespace_of(pid: int) -> Iterator[None]:
    """The network namespace of a container's process."""
    with inside(f"/proc/{pid}/ns/net"):
        yield
