"""What keeps a daemon from starting is one line that names thing, fault and cure, and exit status 1; what it can live with, it says."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from integration.cluster_rig import REPOSITORY, Cluster, CommandFailed, Daemon, wait_until
from integration.netlab import Engine, Host, why_no_engine

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
IMAGE = "shoal-lab"


class Machine:
    """A host with an engine that is not ours, and room for daemons."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.engine: Engine = host.engine(folder / "engine")

    @property
    def engine_url(self) -> str:
        return f"unix://{self.engine.socket}"

    def daemon(self, name: str) -> Daemon:
        return Daemon(self.host, name, self.folder / name)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-refusals-"))
    with Cluster(f"refusals{os.getpid()}", folder, network="10.96.0") as cluster:
        yield Machine(cluster.lab.host("one", "10.96.0.1/24"), folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lived_in(machine: Machine) -> Iterator[Daemon]:
    """A daemon that uses the machine's engine."""
    daemon = machine.daemon("first")
    try:
        yield daemon.start("--engine", machine.engine_url)
    finally:
        daemon.destroy()


def refused(command: tuple[str, ...], *, env: Mapping[str, str] | None = None) -> str:
    """What it said as it refused to start: one line."""
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env={"PYTHONPATH": str(REPOSITORY), **(env or os.environ)})
    said = done.stderr.decode().strip().splitlines()
    assert done.returncode == 1, said
    refusal = said[-1]
    assert refusal.startswith("shoald: "), said
    assert not any("Traceback" in line for line in said), said
    return refusal.removeprefix("shoald: ")


def shoald(*flags: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "node_agent.main", *flags)


def places(folder: Path) -> tuple[str, ...]:
    """Folders and a socket of its own."""
    return (
        *("-H", f"unix://{folder}/shoal.sock", "--data-root", str(folder / "data"), "--exec-root", str(folder / "run")),
        *("--pidfile", str(folder / "pid")),
    )


# -- before anything is touched ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (("-H", "zig"), "bad listen address 'zig': use unix:///path or tcp://address:port"),
        (("-H", "tcp://0.0.0.0:2375"), "refusing to listen on tcp://0.0.0.0:2375 without client certificates"),
        (("-H", "tcp://127.0.0.1"), "a tcp address needs a port"),
        (("--log-level", "loud"), "log level 'loud' is unknown: use one of debug"),
        (("--label", "zig"), "a label reads name=value"),
        (("--data-root", "here"), "must be absolute paths"),
        (("--config-file", "/no/such/file"), "unable to read the configuration file /no/such/file: No such file"),
        (("--data-root", "/proc/zig"), "cannot use /proc/zig: No such file or directory"),
        (("--data-root", "/etc/hostname"), "cannot use /etc/hostname: File exists"),
    ],
)
def test_a_wrong_flag_is_named_with_what_would_be_right(tmp_path: Path, flags: tuple[str, ...], fault: str) -> None:
    assert fault in refused(shoald(*places(tmp_path), *flags))


@pytest.mark.parametrize(
    ("content", "flags", "fault"),
    [
        ('{"debug": tru', (), "it is not a JSON object"),
        ("[]", (), "it is not a JSON object"),
        ('{"zig": 1}', (), "unknown key 'zig'; the keys are data-key-rotation, data-root"),
        ('{"debug": "yes"}', (), "debug"),
        ('{"log-level": "debug"}', ("--log-level", "info"), "'log-level' is given both as a flag and in the file; remove one of them"),
    ],
)
def test_a_wrong_configuration_file_is_named_with_its_fault(tmp_path: Path, content: str, flags: tuple[str, ...], fault: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(content)
    said = refused(shoald(*places(tmp_path), "--config-file", str(file), *flags))
    assert str(file) in said
    assert fault in said
    assert fault in refused(shoald("--validate", "--config-file", str(file), *flags))


def test_without_root_it_says_how_to_start(tmp_path: Path) -> None:
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    readable = Path(tempfile.mkdtemp(prefix="shoal-nobody-"))
    readable.chmod(0o755)
    try:
        said = refused((*nobody, *shoald(*places(readable))), env={"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]})
    finally:
        shutil.rmtree(readable)
    assert said.startswith("needs root: it manages networks, namespaces and an engine. Start it with sudo")


# -- engines -------------------------------------------------------------------------------------------------------------------------------
def test_without_an_engine_it_says_what_to_install(machine: Machine, tmp_path: Path) -> None:
    command = machine.host.command(*shoald(*places(tmp_path), "--engine", "dockerd"))
    said = refused((shutil.which(command[0]) or command[0], *command[1:]), env={"PATH": str(tmp_path)})
    assert "no container engine found" in said
    assert "apt-get install docker.io" in said


def test_an_engine_in_swarm_mode_is_refused_with_the_way_out(machine: Machine, tmp_path: Path) -> None:
    machine.engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        said = refused(machine.host.command(*shoald(*places(tmp_path), "--engine", machine.engine_url)))
    finally:
        machine.engine.docker("swarm", "leave", "--force")
    assert "is in Docker's swarm mode" in said
    assert "docker swarm leave" in said


def test_the_folder_the_engine_and_the_socket_belong_to_one_daemon(machine: Machine, lived_in: Daemon, tmp_path: Path) -> None:
    start = machine.host.command
    folder = lived_in.folder
    said = refused(start(*shoald(*places(tmp_path), "--data-root", str(folder / "data"))))
    assert f"another shoald uses the state folder {folder / 'data'}: stop it, or give this one its own --data-root" in said
    said = refused(start(*shoald(*places(tmp_path), "--engine", machine.engine_url)))
    assert f"is used by another shoald (process {lived_in.pid}, state {folder / 'data'})" in said
    said = refused(start(*shoald(*places(tmp_path), "--engine", lived_in.url)))
    assert "is a Shoal daemon's socket, not an engine's" in said
    engine = f"unix://{tmp_path}/none.sock"  # one that does not answer yet
    said = refused(start(*shoald(*places(tmp_path), "-H", lived_in.url, "--engine", engine)))
    assert f"cannot listen on {lived_in.socket}: another daemon does; stop it or choose another -H" in said
    assert lived_in.docker("version", "--format", "{{.Server.Version}}") != "", "the first one is unharmed"


def test_the_daemon_lives_without_its_engine_and_goes_on_with_it(machine: Machine) -> None:
    """Down at the start, then there, then killed with a task on it, then back."""
    machine.engine.stop()
    daemon = machine.daemon("patient")
    try:
        daemon.start("--engine", machine.engine_url)
        gone = f"cannot connect to the container engine at {machine.engine_url}"
        with pytest.raises(CommandFailed, match=gone):
            daemon.docker("ps")
        assert gone in json.dumps(daemon.get("/info")["Warnings"])
        machine.engine.start()
        wait_until(lambda: daemon.docker("ps", "-q") == "", what="the engine is used as soon as it answers")
        machine.engine.import_image()
        daemon.docker("swarm", "init", "--advertise-addr", daemon.address)
        wait_until(lambda: daemon.get("/nodes")[0]["Status"]["State"] == "ready", what="the node is ready")
        quick = ("--detach", "--no-resolve-image", "--stop-grace-period", "0s", "--restart-delay", "100ms")
        daemon.docker("service", "create", *quick, "--name", "web", IMAGE, "sleep", "1000")
        (task,) = daemon.wait_running("web", 1)
        machine.engine.stop()
        with pytest.raises(CommandFailed, match=gone):
            daemon.docker("ps")
        assert daemon.docker("service", "ls", "--format", "{{.Name}}") == "web", "the swarm needs no engine"
        daemon.docker("service", "update", "--detach", "--no-resolve-image", "--env-add", "A=b", "web")
        machine.engine.start()

        def replaced() -> bool:
            return [one["ID"] for one in daemon.tasks("web")] not in ([], [task["ID"]])

        wait_until(replaced, what="what was asked meanwhile is done", seconds=60)
        daemon.docker("service", "rm", "web")
        wait_until(lambda: daemon.get("/tasks") == [], what="all tasks are gone")
    finally:
        daemon.destroy()


def test_whatever_hangs_on_the_way_out_is_cut_off() -> None:
    hang = "import time; from node_agent.machine import end_within; end_within(1); time.sleep(60)"
    done = subprocess.run((sys.executable, "-c", hang), capture_output=True, timeout=20, check=False, env={"PYTHONPATH": str(REPOSITORY)})
    assert (done.returncode, done.stderr) == (1, b"shoald: stopping took longer than 1 s; cutting off what is left\n")
