"""From any manager into the container of any task: exec, logs, inspect and top, by clients that know nothing of it."""

import fcntl
import hashlib
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import APIError

from integration.cluster_rig import Cluster, CommandFailed, Daemon, run, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # docker-py leaves sockets to the collector
]
IMAGE = "shoal-lab"
TALK = "echo hello from $HOSTNAME; echo oops >&2; exec sleep 1000"
MUCH = 100 << 20
SHOAL = (sys.executable, "-m", "cli.main")
CLIENTS = [name for name in ("/usr/local/bin/docker", "/usr/bin/docker") if os.path.exists(name)]


@pytest.fixture
def container(cluster: Cluster) -> Iterator[str]:
    """The id of a container on the worker w1."""
    manager = cluster.daemons["m1"]
    yield a_task_on(manager, "w1")
    manager.docker("service", "rm", "talk")
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")


def a_task_on(manager: Daemon, host: str) -> str:
    flags = ("--detach", "--no-resolve-image", "--stop-grace-period", "0s", "--constraint", f"node.hostname=={host}")
    manager.docker("service", "create", "--name", "talk", *flags, IMAGE, "sh", "-c", TALK)
    (task,) = manager.wait_running("talk", 1)
    return str(task["Status"]["ContainerStatus"]["ContainerID"])


def test_each_manager_looks_into_a_container_by_id_prefix_or_name(cluster: Cluster, container: str) -> None:
    home = cluster.daemons["w1"]
    name = home.docker("inspect", container, "--format", "{{.Name}}").removeprefix("/")
    for number, reference in enumerate((container, container[:12], name), 1):
        manager = cluster.daemons[f"m{number}"]
        assert manager.docker("exec", reference, "hostname") == container[:12]
        assert manager.docker("inspect", reference, "--format", "{{.Id}}") == container
        assert manager.docker("logs", reference) == f"hello from {container[:12]}"
        assert "sleep 1000" in manager.docker("top", reference)
    assert manager.docker("inspect", container) == home.docker("inspect", container)


@pytest.mark.parametrize("client", CLIENTS)
def test_both_clients_give_output_errors_and_exit_codes(cluster: Cluster, container: str, client: str) -> None:
    manager = cluster.daemons["m2"]
    script = "echo out; echo err >&2; cat; id -u; pwd; echo $COLOUR; exit 7"
    command = (client, "-H", manager.url, "exec", "-i", "-u", "3", "-w", "/tmp", "-e", "COLOUR=blue", container, "sh", "-c", script)
    done = subprocess.run(command, input=b"in\n", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\nin\n3\n/tmp\nblue\n", b"err\n")
    with pytest.raises(CommandFailed) as missing:
        run((client, "-H", manager.url, "exec", container, "nosuchprogram"))
    assert missing.value.status in (126, 127)
    run((client, "-H", manager.url, "exec", "-d", container, "touch", "/tmp/begun"))
    wait_until(lambda: manager.docker("exec", container, "ls", "/tmp/begun"), what="the detached command ran")


def test_logs_are_chosen_and_followed(cluster: Cluster, container: str) -> None:
    manager = cluster.daemons["m3"]
    done = subprocess.run(("docker", "-H", manager.url, "logs", "-t", container), capture_output=True, timeout=60, check=True)
    assert re.fullmatch(rb"20\S+Z hello from \w+\n", done.stdout)
    assert re.fullmatch(rb"20\S+Z oops\n", done.stderr)
    assert manager.docker("logs", "--since", "2100-01-01T00:00:00Z", container) == ""
    with manager.listening("logs", "--follow", "--tail", "0", container) as said:
        time.sleep(0.5)  # what is said before the reader is there would not be told
        manager.docker("exec", container, "sh", "-c", "echo more > /proc/1/fd/1")
        wait_until(lambda: said() == ["more"], what="the new line is read")


def test_its_output_can_be_attached_to_and_what_is_local_still_is(cluster: Cluster, container: str) -> None:
    manager = cluster.daemons["m2"]
    with manager.listening("attach", "--no-stdin", "--sig-proxy=false", container) as said:

        def more() -> bool:
            manager.docker("exec", container, "sh", "-c", "echo more > /proc/1/fd/1")
            return said()[:1] == ["more"]

        wait_until(more, what="what it says is heard")
    assert manager.docker("run", "--rm", "-i", IMAGE, "cat", stdin=b"here") == "here"


def test_what_is_not_let_through_says_where_the_container_is(cluster: Cluster, container: str) -> None:
    manager = cluster.daemons["m1"]
    for verb in ("kill", "stop", "pause", "rm"):
        with pytest.raises(CommandFailed, match=rf"No such container: {container}.*task talk\.1\..* on node w1"):
            manager.docker(verb, container)
    with pytest.raises(CommandFailed, match="No such container: w1"):
        manager.docker("exec", "w1", "true")
    with pytest.raises(CommandFailed, match=f"No such container: {container}$"):
        cluster.daemons["w2"].docker("exec", container, "true")
    assert manager.docker("exec", container, "echo", "lives") == "lives"


def test_docker_py_runs_a_command_in_it(cluster: Cluster, container: str) -> None:
    client = docker.DockerClient(base_url=cluster.daemons["m2"].url)
    try:
        found = client.containers.get(container)
        code, (out, err) = found.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
        assert (code, out, err) == (3, b"out\n", b"err\n")
        assert found.exec_run("echo over a terminal", tty=True).output == b"over a terminal\r\n"
        with pytest.raises(APIError) as refused:
            found.kill()
        assert refused.value.status_code == 404
    finally:
        client.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_terminal_has_its_size_and_can_be_left(cluster: Cluster, container: str, client: str) -> None:
    with Terminal(client, "-H", cluster.daemons["m1"].url, "exec", "-it", container, "sh") as terminal:
        terminal.resize(30, 100)
        terminal.until(lambda: terminal.types("stty size\n"), b"30 100")
        terminal.resize(44, 133)
        terminal.until(lambda: terminal.types("stty size\n"), b"44 133")
        terminal.types("\x10\x11")  # the detach keys
        assert terminal.wait() == 0 or b"read escape sequence" in terminal.said
    with Terminal(client, "-H", cluster.daemons["m1"].url, "exec", "-it", container, "sh") as terminal:
        terminal.types("exit 5\n")
        assert terminal.wait() == 5


class Terminal:
    """A program that believes to be in front of somebody."""

    def __init__(self, *command: str) -> None:
        self.ours, theirs = pty.openpty()
        self.said = b""
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.set_blocking(self.ours, False)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def types(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def read(self) -> bytes:
        with suppress(OSError):  # nothing there now, or nothing any more
            self.said += os.read(self.ours, 65536)
        return self.said

    def until(self, again: Callable[[], None], wanted: bytes) -> None:
        def seen() -> bool:
            again()
            return wanted in self.read()

        wait_until(seen, what=f"the terminal says {wanted!r}", every=0.3)

    def wait(self) -> int:
        def ended() -> bool:
            self.read()
            return self.process.poll() is not None

        wait_until(ended, what="the program in the terminal ends")
        return int(self.process.returncode)


def test_much_goes_through_both_ways_and_little_is_held(cluster: Cluster, container: str, tmp_path: Path) -> None:
    manager, home = cluster.daemons["m3"], cluster.daemons["w1"]
    much = tmp_path / "much"
    with much.open("wb") as file:
        for _ in range(MUCH >> 20):
            file.write(os.urandom(1 << 20))
    before = {daemon.name: _peak(daemon, forget=True) for daemon in (manager, home)}
    back = hashlib.sha256()
    command = ("docker", "-H", manager.url, "exec", "-i", container, "cat")
    with much.open("rb") as file, subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while part := process.stdout.read(1 << 20):
            back.update(part)
    assert process.returncode == 0
    assert back.hexdigest() == hashlib.sha256(much.read_bytes()).hexdigest()
    for daemon in (manager, home):
        assert _peak(daemon) - before[daemon.name] < 24 << 20, f"{daemon.name} holds at most a few windows"


def _peak(daemon: Daemon, *, forget: bool = False) -> int:
    """The most memory that a daemon had, bytes; since it was last forgotten."""
    if forget:
        Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


def test_a_client_that_leaves_hangs_up_in_the_container(cluster: Cluster, container: str) -> None:
    manager = cluster.daemons["m2"]
    command = ("docker", "-H", manager.url, "exec", "-i", container, "sh", "-c", "cat > /dev/null; touch /tmp/hung-up")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        wait_until(lambda: "cat" in manager.docker("top", container), what="the command runs")
        process.kill()
    wait_until(lambda: manager.docker("exec", container, "ls", "/tmp/hung-up"), what="its input ended")


# -- our own client --------------------------------------------------------------------------------------------------------------------
def test_shoal_exec_takes_a_service_a_slot_a_task_or_a_container(cluster: Cluster, container: str) -> None:
    manager = cluster.daemons["m2"]
    (task,) = manager.tasks("talk")
    for word in ("talk", "talk.1", task["ID"], container, container[:12], f"talk.1.{task['ID']}"):
        assert manager.shoal("exec", word, "hostname") == container[:12]
    flags = ("--slot", "1", "-u", "3", "-w", "/tmp", "-e", "A=b")
    assert manager.shoal("exec", *flags, "talk", "sh", "-c", "id -u; pwd; echo $A") == "3\n/tmp\nb"
    assert cluster.daemons["w1"].shoal("exec", container, "hostname") == container[:12], "a worker reaches its own"
    command = (*SHOAL, "-H", manager.url, "exec", "-i", "talk", "sh", "-c", "cat; echo err >&2; exit 7")
    done = subprocess.run(command, input=b"in" * 100_000, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in" * 100_000, b"err\n")
    manager.shoal("exec", "-d", "talk", "touch", "/tmp/begun")
    wait_until(lambda: manager.shoal("exec", "talk", "ls", "/tmp/begun"), what="the detached command ran")
    for words, fault in (
        (("nosuch", "true"), "No such container: nosuch"),
        (("talk.7", "true"), r"talk\.7 has no running task; there are talk\.1 \(on w1\)"),
        (("-it", "talk", "true"), "the input device is not a TTY"),
        (("talk",), "requires at least 2 arguments"),
    ):
        with pytest.raises(CommandFailed, match=fault):
            manager.shoal("exec", *words)


def test_shoal_exec_has_a_terminal(cluster: Cluster, container: str) -> None:
    with Terminal(*SHOAL, "-H", cluster.daemons["m3"].url, "exec", "-it", container, "sh") as terminal:
        terminal.resize(44, 133)
        terminal.until(lambda: terminal.types("stty size\n"), b"44 133")
        terminal.types("exit 5\n")
        assert terminal.wait() == 5


# -- what breaks -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def breakable(archive: Path) -> Iterator[Cluster]:
    """Three managers and a worker of these tests' own."""
    with tempfile.TemporaryDirectory(prefix="shoal-exec-") as folder, Cluster("exec", Path(folder), network="10.97.0") as running:
        running.bring_up(managers=3, workers=1, archive=archive, image=IMAGE)
        yield running


class Conversation:
    """`cat` in a container, by the stock client: what is said comes back."""

    def __init__(self, manager: Daemon, container: str) -> None:
        command = ("docker", "-H", manager.url, "exec", "-i", container, "cat")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def answers(self, line: bytes) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return self.process.stdout.readline() == line

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said of it, after its input ended."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said.decode()


def test_a_node_that_stands_still_ends_what_was_begun_there(breakable: Cluster) -> None:
    manager, worker = breakable.daemons["m1"], breakable.daemons["w1"]
    container = a_task_on(manager, "w1")
    talk = Conversation(manager, container)
    assert talk.answers(b"before\n")
    worker.pause()
    try:
        begun = time.monotonic()
        code, said = talk.end()
        assert code == 1
        assert "node w1" in said, said
        assert time.monotonic() - begun < 20
    finally:
        worker.go_on()
        manager.docker("service", "rm", "talk")


def test_a_conversation_outlives_the_leader_but_neither_of_its_ends(breakable: Cluster) -> None:
    leader = wait_until(breakable.leader, what="somebody leads")
    one, other = [daemon for name, daemon in breakable.daemons.items() if name.startswith("m") and daemon is not leader]
    worker = breakable.daemons["w1"]
    container = a_task_on(one, "w1")
    through_one, through_other = Conversation(one, container), Conversation(other, container)
    assert through_one.answers(b"before\n")
    assert through_other.answers(b"before\n")

    leader.kill()
    assert through_one.answers(b"nobody leads\n")
    wait_until(lambda: one.get("/nodes"), what="another leads")
    assert through_one.answers(b"another leads\n")
    wait_until(lambda: one.docker("exec", container, "echo", "new") == "new", what="a new one is begun under the new leader")

    other.kill()
    code, said = through_other.end()
    assert code != 0, "its manager is gone, and it says so"
    other.start()
    wait_until(lambda: one.get("/nodes"), what="there is a quorum again")
    assert through_one.answers(b"still there\n")

    worker.kill()
    begun = time.monotonic()
    code, said = through_one.end()
    assert code == 1
    assert "w1" in said, said
    assert time.monotonic() - begun < 15
    wait_until(lambda: one.docker("node", "inspect", "w1", "--format", "{{.Status.State}}") == "down", what="the node is down")
    for command in (("exec", container, "true"), ("logs", container), ("inspect", "--type", "container", container)):
        with pytest.raises(CommandFailed, match=r"node w1 is down"):
            one.docker(*command, timeout=10)
