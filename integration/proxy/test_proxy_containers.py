"""Every `docker container` subcommand, by the stock CLI of two ages, through the proxy to a real engine."""

import io
import json
import tarfile
import time

import pytest

from integration.proxy.conftest import Docker, Front, wait_until

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_output_input_and_exit_code_of_a_run_come_through(docker: Docker) -> None:
    assert docker("run", "--rm", "-i", "bb", "cat", stdin=b"x\n") == "x"
    done = docker.run("run", "--rm", "bb", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_a_run_ends_when_its_input_ends_however_much_came_before(docker: Docker) -> None:
    sent = b"0123456789abcdef" * 65536
    assert docker.raw("run", "--rm", "-i", "bb", "cat", stdin=sent) == sent


def test_a_terminal_has_the_size_of_the_clients(docker: Docker) -> None:
    assert "rows 33; columns 111;" in docker.terminal("run", "-it", "--rm", "bb", "sh", "-c", "'sleep 0.2; stty -a'")


def test_a_run_takes_names_ports_volumes_mounts_and_networks(docker: Docker, direct: Docker) -> None:
    docker("network", "create", "with-run")
    docker("volume", "create", "kept")
    name = docker(
        *("run", "-d", "--name", "dressed", "--expose", "81", "-p", "18080:80", "-P", "-v", "/anonymous", "-v", "kept:/kept"),
        *("--mount", "type=tmpfs,target=/scratch", "--mount", "type=bind,source=/tmp,target=/host,readonly"),
        *("--network", "with-run", "--network-alias", "other", "bb", "sleep", "100"),
    )
    shown = json.loads(docker("inspect", "dressed"))[0]
    assert shown["Id"] == name
    assert set(shown["NetworkSettings"]["Ports"]) == {"80/tcp", "81/tcp"}
    assert {mount["Destination"] for mount in shown["Mounts"]} == {"/anonymous", "/kept", "/host", "/scratch"}
    assert list(shown["NetworkSettings"]["Networks"]) == ["with-run"]
    docker("rm", "-f", "-v", "dressed")
    docker("network", "rm", "with-run")
    docker("volume", "rm", "kept")


def test_create_start_wait_logs_and_rm(docker: Docker) -> None:
    name = docker("create", "--label", "a=b", "bb", "sh", "-c", "echo one; echo two >&2; exit 3")
    assert docker("start", name) == name
    assert docker("wait", name) == "3"
    done = docker.run("logs", "--timestamps", name)
    assert b"Z one\n" in done.stdout
    assert b"Z two\n" in done.stderr
    assert docker.run("start", "-a", name).returncode == 3
    assert docker("rm", name) == name
    assert "No such container" in docker.refused("inspect", "--type", "container", name)


def test_logs_are_followed_to_their_end(docker: Docker) -> None:
    name = docker("run", "-d", "bb", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert docker("logs", "-f", name).split() == ["1", "2", "3"]
    assert docker("logs", "--tail", "1", name) == "3"
    docker("rm", name)


def test_attach_shows_what_comes_and_sends_what_is_typed(docker: Docker) -> None:
    name = docker("run", "-d", "-i", "bb", "sh", "-c", "read x; echo got $x; read y; echo bye $y; exit 5")
    with docker.beside("attach", name) as client:  # whose input stays open: the engine cuts an attach off when it ends
        assert client.stdin is not None
        assert client.stdout is not None
        for word, answer in ((b"hello", b"got hello"), (b"you", b"bye you")):
            client.stdin.write(word + b"\n")
            client.stdin.flush()
            assert client.stdout.readline() == answer + b"\n"
        assert client.wait(10) == 5
    docker("rm", name)


def test_exec_with_input_terminal_and_exit_code(docker: Docker, container: str) -> None:
    assert docker("exec", "-i", container, "cat", stdin=b"x") == "x"
    done = docker.run("exec", container, "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 9)
    assert "rows 33; columns 111;" in docker.terminal("exec", "-it", container, "sh", "-c", "'sleep 0.2; stty -a'")
    docker("exec", "-d", container, "touch", "/detached")
    wait_until(lambda: docker.run("exec", container, "ls", "/detached").returncode == 0, "the detached process ran")
    assert docker("exec", "-e", "A=b", "-w", "/tmp", container, "sh", "-c", "echo $A $PWD") == "b /tmp"


def test_files_are_copied_both_ways(docker: Docker, container: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("sent")
        entry.size = 1_000_000
        tar.addfile(entry, io.BytesIO(b"y" * entry.size))
    docker("cp", "-", f"{container}:/tmp", stdin=archive.getvalue())
    with tarfile.open(fileobj=io.BytesIO(docker.raw("cp", f"{container}:/tmp/sent", "-"))) as back:
        taken = back.extractfile("sent")
        assert taken is not None
        assert taken.read() == b"y" * 1_000_000
    assert "A /tmp/sent" in docker("diff", container)


def test_a_container_becomes_an_image_and_an_archive(docker: Docker, container: str) -> None:
    docker("exec", container, "touch", "/mark")
    docker("commit", "-c", "CMD ls /mark", container, "committed")
    assert docker("run", "--rm", "committed") == "/mark"
    with tarfile.open(fileobj=io.BytesIO(docker.raw("export", container))) as exported:
        assert "mark" in exported.getnames()
    docker("rmi", "committed")


def test_a_containers_life_is_commanded(docker: Docker, container: str) -> None:
    docker("pause", container)
    assert docker("inspect", "-f", "{{.State.Status}}", container) == "paused"
    docker("unpause", container)
    docker("rename", container, "renamed")
    assert docker("ps", "--filter", "name=renamed", "--format", "{{.Names}}") == "renamed"
    docker("update", "--memory", "64m", "--memory-swap", "64m", "renamed")
    assert docker("inspect", "-f", "{{.HostConfig.Memory}}", "renamed") == str(64 * 1024 * 1024)
    assert "sleep 1000" in docker("top", "renamed")
    docker("restart", "-t", "0", "renamed")
    docker("stop", "-t", "0", "renamed")
    assert docker("inspect", "-f", "{{.State.Running}}", "renamed") == "false"
    docker("start", "renamed")
    docker("kill", "renamed")
    assert docker("wait", "renamed") == "137"


def test_stats_stream_and_come_once(docker: Docker, container: str) -> None:
    assert container[:12] in docker("stats", "--no-stream", "--format", "{{.ID}}", container)


def test_ports_are_shown(docker: Docker) -> None:
    name = docker("run", "-d", "-p", "127.0.0.1:18081:80/tcp", "bb", "sleep", "100")
    assert docker("port", name, "80/tcp") == "127.0.0.1:18081"
    docker("rm", "-f", name)


def test_prune_removes_what_has_stopped_but_no_task(docker: Docker, direct: Docker) -> None:
    gone = docker("run", "-d", "--label", "mine=1", "bb", "true")
    task = direct("run", "-d", "--label", "shoal.cluster=c1", "bb", "true")
    docker("wait", gone)
    docker("wait", task)
    assert gone in docker("container", "prune", "-f")
    gone = docker("create", "bb", "true")
    kept = docker("create", "--label", "keep", "bb", "true")
    pruned = docker("container", "prune", "-f", "--filter", "label!=keep")
    assert gone in pruned
    assert kept not in pruned
    left = docker("ps", "-aq", "--no-trunc")
    assert task in left
    assert kept in left
    direct("rm", task, kept)


def test_a_client_that_is_killed_takes_the_engines_connection_with_it(docker: Docker, container: str, front: Front) -> None:
    """`logs -f`, `events`, `attach` and `wait` are silent for long: nothing but the hangup tells."""
    wait_until(lambda: not front.connections, "earlier clients are gone")
    for words in (("logs", "-f", container), ("events",), ("attach", container), ("wait", container), ("exec", "-i", container, "cat")):
        with docker.beside(*words) as client:
            wait_until(lambda: front.connections >= 2, "the client and the engine are connected")
            time.sleep(0.1)  # until its request is with the engine
            client.kill()
        wait_until(lambda: not front.connections, f"{words[0]} is over for the engine", seconds=3)
