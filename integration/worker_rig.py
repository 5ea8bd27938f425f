"""A real engine for the worker's tests: an own dockerd in an own network namespace, with a small image and nothing shared.

Everything it starts it ends: containers, dockerd, mounts, namespace.
"""

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from integration.netlab import left_behind
from worker.engine.launcher import EngineLauncher

IMAGE = "shoal-test:1"
APPLETS = """
    sh sleep cat ls stat id echo env true false dd kill mount test hostname ip seq tail date grep touch stty nc wget httpd head
"""


def why_not() -> str:
    """One line that says why no engine can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and an own dockerd"
    for program in ("dockerd", "ip", "nsenter", "busybox", "docker"):
        if shutil.which(program) is None:
            return f"needs {program} (apt-get install docker.io iproute2 util-linux busybox-static)"
    return ""


needs_engine = pytest.mark.skipif(bool(why_not()), reason=why_not() or "an engine can be started")


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A network namespace with a loopback that is up."""
    for left in left_behind(name):
        subprocess.run(["ip", "netns", "del", left], check=False, capture_output=True)
    name = f"{name}-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


class Rig:
    """One dockerd, and its command line."""

    def __init__(self, launcher: EngineLauncher, folder: Path, netns: str) -> None:
        self.launcher = launcher
        self.folder = folder
        self.netns = netns
        self.address = launcher.address

    def docker(self, *arguments: str, check: bool = True) -> str:
        """What the docker CLI prints."""
        done = subprocess.run(["docker", "-H", self.address, *arguments], capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
        return (done.stdout + done.stderr).strip()

    def remove_containers(self) -> None:
        ids = self.docker("ps", "-aq").split()
        if ids:
            self.docker("rm", "-f", "-v", *ids)


@contextmanager
def dockerd(name: str, *, settings: Mapping[str, object] = {}) -> Iterator[Rig]:
    """Start one, give it the image, take everything away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-rig-"))
    with namespace(name) as netns:
        launcher = EngineLauncher(
            state=folder / "state",
            runtime=folder / "run",
            clock=SystemClock(),
            rng=Random(1),
            command=("nsenter", f"--net={netns}", "dockerd"),
            settings=settings,
        )
        rig = Rig(launcher, folder, netns)
        try:
            asyncio.run(start(launcher))
            import_image(rig)
            yield rig
            rig.remove_containers()
        finally:
            asyncio.run(launcher.stop())
            unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """A dockerd killed with -9 leaves its data folder bound onto itself."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", mount], check=False, capture_output=True)


async def start(launcher: EngineLauncher) -> None:
    """It goes on when the loop that started it is over."""
    async with background(launcher.run):
        await launcher.wait_ready()


def import_image(rig: Rig, name: str = IMAGE) -> None:
    """busybox from its one static binary: no registry is needed."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(os.path.realpath(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
        for applet in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        users = b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        tar.addfile(entry, io.BytesIO(users))
    command = ["docker", "-H", rig.address, "import", "-c", "ENV PATH=/bin", "-", name]
    subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True, timeout=60)
