"""The promise: whoever knows `docker service ls` knows `shoal service ls`: same words in, same words out, same exit code.

Runs against a dockerd in swarm mode of its own, or against the socket that SHOAL_TEST_SOCKET names: a one-node swarm, manager, with the
image `shoal-test:1`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.worker_rig import IMAGE, dockerd, needs_engine

ROOT = Path(__file__).resolve().parents[1]
OURS = "SHOAL_TEST_SOCKET"
pytestmark = [pytest.mark.root, pytest.mark.engine, *([] if os.environ.get(OURS) else [needs_engine])]

# `sleep` as the first process does not hear SIGTERM
GRACE = ("--stop-grace-period", "0s")

STACK = f"""
version: "3.8"
services:
  one:
    image: {IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    secrets: [key]
    configs: [{{source: conf, target: /etc/conf}}]
    networks: [net]
  two:
    image: {IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    deploy: {{replicas: 2}}
networks: {{net: {{}}}}
secrets: {{key: {{file: ./stack.yml}}}}
configs: {{conf: {{file: ./stack.yml}}}}
"""


class Clis:
    """Both commands, on the same daemon."""

    def __init__(self, socket: str, home: Path) -> None:
        self.socket, self.home = socket, home
        self.env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "DOCKER_CONFIG": str(home)}

    def start(self, program: str, *line: str, **options: Any) -> subprocess.Popen[str]:
        command = ["docker"] if program == "docker" else [sys.executable, "-m", "cli.main"]
        return subprocess.Popen(
            [*command, "-H", f"unix://{self.socket}", *line],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, program: str, *line: str, given: str = "") -> tuple[int, str, str]:
        process = self.start(program, *line)
        out, err = process.communicate(given, timeout=120)
        return process.returncode, out, err

    def shoal(self, *line: str, given: str = "") -> str:
        code, out, err = self.run("shoal", *line, given=given)
        assert code == 0, (line, out, err)
        return out.strip()

    def shoal_fails(self, *line: str, exits: int = 1) -> str:
        code, out, err = self.run("shoal", *line)
        assert code == exits, (line, out, err)
        return err.strip()


@pytest.fixture(scope="module")
def clis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clis]:
    home = tmp_path_factory.mktemp("cli")
    (home / "stack.yml").write_text(STACK)
    if socket := os.environ.get(OURS):
        yield Clis(socket, home)
        return
    # swarm mode and live restore exclude one another; the last flag counts
    with dockerd("shoal-cli-test", settings={"live-restore": False}) as rig:
        both = Clis(rig.address.removeprefix("unix://"), home)
        assert "is now a manager" in both.shoal("swarm", "init", "--advertise-addr", "127.0.0.1")
        try:
            yield both
        finally:
            assert both.shoal("swarm", "leave", "--force") == "Node left the swarm."


@pytest.fixture(scope="module")
def populated(clis: Clis) -> Iterator[Clis]:
    """A swarm with something of every kind, made by shoal alone."""
    clis.shoal("secret", "create", "-l", "tier=a", "key1", "-", given="s3cret")
    clis.shoal("config", "create", "conf1", "stack.yml")
    clis.shoal("network", "create", "-d", "overlay", "--attachable", "--label", "x=y", "net1")
    quick = ["service", "create", "--detach", "--no-resolve-image", *GRACE]
    clis.shoal(*quick, "--name", "web", "--replicas", "2", "-p", "8080-8081:80-81", "-p", "9000:9000/udp", IMAGE, "sleep", "1000")
    clis.shoal(*quick, "--name", "glob", "--mode", "global", "-l", "a=b", "--secret", "key1", "--network", "net1", IMAGE, "sleep", "1000")
    clis.shoal(*quick, "--name", "none", "--constraint", "node.role==worker", "--replicas-max-per-node", "2", IMAGE)
    clis.shoal(*quick, "--name", "job", "--mode", "replicated-job", "--replicas", "2", IMAGE, "true")
    clis.shoal(*quick, "--name", "talk", IMAGE, "sh", "-c", "for i in 1 2 3; do echo out $i; done; sleep 1000")
    clis.shoal("stack", "deploy", "--resolve-image", "never", "-c", "stack.yml", "shop")
    names = ["web", "glob", "talk", "shop_one", "shop_two"]
    until(lambda: all(_settled(clis, name) for name in names), "every service runs")
    until(lambda: "(2/2 completed)" in clis.shoal("service", "ls", "-f", "name=job"), "the job is complete")
    yield clis
    clis.shoal("stack", "rm", "--detach=false", "shop")
    clis.shoal("service", "rm", "web", "glob", "none", "job", "talk")
    clis.shoal("secret", "rm", "key1")
    clis.shoal("config", "rm", "conf1")
    until(lambda: clis.run("shoal", "network", "rm", "net1")[0] == 0, "the network is free")


def _settled(clis: Clis, name: str) -> bool:
    running, wanted = clis.shoal("service", "ls", "-f", f"name={name}", "--format", "{{.Replicas}}").split()[0].split("/")
    return running == wanted


def until(holds: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def ageless(text: str) -> str:
    """Ages move on between two commands."""
    text = re.sub(r"(less than a second|about an? \w+|\d+ \w+) ago", "AGO", text, flags=re.IGNORECASE)
    return re.sub(r" +", " ", text)


SAME = [
    "service ls",
    "service ls -q",
    "service ls --filter name=web",
    "service ls --filter mode=global --format json",
    "service ls --format {{.ID}}|{{.Name}}|{{.Mode}}|{{.Replicas}}|{{.Image}}|{{.Ports}}",
    "service ls --format table\\ {{.Name}}\\t{{.Ports}}",
    'service ls --format {{.Name|upper|printf\\ "%-10s"}}!',
    "service list",
    "service ps web",
    "service ps web glob",
    "service ps --no-trunc --no-resolve none",
    "service ps -q web",
    "service ps -f desired-state=running --format json web",
    "service inspect web glob",
    "service inspect --format json web",
    "service inspect --format {{.Spec.Name}}\\ {{json\\ .Endpoint.Ports}} web",
    "service inspect --format {{range\\ .Endpoint.Ports}}{{.PublishedPort}}\\ {{end}} web",
    "service inspect -f {{.Spec.TaskTemplate.ContainerSpec.Image}}\\ {{.CreatedAt}} web",
    "node ls",
    "node ls -q",
    "node ls --format json",
    "node ls --format {{.Self}}\\ {{.TLSStatus}}\\ {{.ManagerStatus}}",
    "node ls --filter role=manager",
    "node inspect self",
    "node inspect self --format {{.Status.Addr}}\\ {{.Spec.Role}}",
    "node ps",
    "node ps self --filter desired-state=running -q",
    "stack ls",
    "stack ls --format json",
    "stack services shop",
    "stack services -q shop",
    "stack ps shop",
    "stack ps --format json shop",
    "secret ls",
    "secret ls -q",
    'secret ls --format {{.Name}}\\ {{.Labels}}\\ {{.Label\\ "tier"}}',
    "secret inspect key1",
    "secret inspect -f {{.Spec.Labels}} key1",
    "config ls --filter name=conf1",
    "config ls --format json",
    "config inspect conf1",
    "network ls",
    "network ls --filter driver=overlay --format json",
    "network ls --no-trunc -q",
    "network inspect net1",
    "swarm join-token -q worker",
    "swarm join-token -q manager",
    "swarm ca",
    "info --format {{.Swarm.NodeID}}\\ {{.Swarm.ControlAvailable}}\\ {{.NCPU}}",
    "version --format {{.Server.Version}}",
]


@pytest.mark.parametrize("line", SAME)
def test_both_commands_say_the_same(populated: Clis, line: str) -> None:
    words = [word.replace("\0", " ") for word in line.replace("\\ ", "\0").split()]
    theirs, ours = (populated.run(program, *words) for program in ("docker", "shoal"))
    assert (ours[0], ours[2].strip()) == (theirs[0], theirs[2].strip())
    if "inspect" in words and ("json" in words or not any(word.startswith(("-f", "--format")) for word in words)):
        assert json.loads(ours[1]) == json.loads(theirs[1])
    else:
        assert ageless(ours[1]) == ageless(theirs[1])


REFUSED = [
    "service inspect nosuch",
    "service rm nosuch1 nosuch2",
    "service ps nosuch",
    "service ps web nosuch",
    "service update nosuch",
    "service scale nosuch=3",
    "service scale web=x",
    "service scale glob=3",
    "service rollback web",
    "service logs nosuch",
    "service create --detach --no-resolve-image --name web shoal-test:1",
    "service create --detach --no-resolve-image --name x --network nosuch shoal-test:1",
    "service create --detach --no-resolve-image --name x --secret nosuch shoal-test:1",
    "service create --detach --no-resolve-image --name bad/name shoal-test:1",
    "service ls --filter bogus=1",
    "node inspect nosuch",
    "node ps nosuch",
    "node update --availability odd self-is-no-name",
    "node rm nosuch",
    "node demote nosuch",
    "swarm init",
    "swarm leave",
    "swarm join --token x 127.0.0.1:2377",
    "swarm unlock-key",
    "secret rm key1",
    "secret rm nosuch",
    "secret inspect nosuch",
    "config create conf1 stack.yml",
    "config inspect nosuch",
    "network inspect nosuch",
    "network create -d overlay net1",
    "network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 x",
    "stack ps nosuch",
    "stack services nosuch",
    "stack rm nosuch",
    "task-is-no-noun ls",
    "service ls --bogus",
    "service ls -x",
    "service create --replicas x shoal-test:1",
    "service rm",
]


@pytest.mark.parametrize("line", REFUSED)
def test_both_commands_refuse_alike(populated: Clis, line: str) -> None:
    theirs, ours = (populated.run(program, *line.split()) for program in ("docker", "shoal"))
    assert ours[0] == theirs[0], (ours, theirs)
    assert ageless(ours[1]) == ageless(theirs[1])
    told, said = (_first_lines(one[2]) for one in (theirs, ours))
    assert said == told


def _first_lines(text: str) -> list[str]:
    """What was said before the usage, but for the name of the command, and gRPC's code in front of a manager's refusal."""
    told = re.split(r"\n(?:Usage:|Run ')", text)[0]
    told = re.sub(r"rpc error: code = \w+ desc = ", "", told)
    return sorted(line.strip().replace("docker", "shoal") for line in told.splitlines() if line.strip())


def test_a_service_lives_from_create_to_rm(clis: Clis) -> None:
    made = clis.shoal(
        "service",
        "create",
        "--no-resolve-image",
        "--name",
        "life",
        "--update-monitor",
        "1s",
        "--replicas",
        "2",
        *GRACE,
        IMAGE,
        "sleep",
        "1000",
    )
    assert "overall progress: 2 out of 2 tasks" in made.splitlines()
    assert made.splitlines()[-1].endswith("converged")
    assert clis.shoal("service", "scale", "life=3").startswith("life scaled to 3\n")
    clis.shoal("service", "update", "--no-resolve-image", "--env-add", "A=1", "--quiet", "life")
    assert (
        clis.shoal("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}} {{.UpdateStatus.State}}", "life")
        == "[A=1] completed"
    )
    assert "A=1" in clis.shoal("service", "inspect", "--pretty", "life")
    clis.shoal("service", "rollback", "--quiet", "life")
    assert clis.shoal("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "life") == ""
    assert clis.shoal("service", "rm", "life") == "life"


def test_an_update_that_fails_says_why_and_exits_with_2(clis: Clis) -> None:
    clis.shoal("service", "create", "-d", "--no-resolve-image", "--name", "fails", "--update-monitor", "2s", *GRACE, IMAGE, "sleep", "1000")
    until(lambda: _settled(clis, "fails"), "it runs")
    said = clis.shoal_fails("service", "update", "--no-resolve-image", "--args", "sh -c 'exit 7'", "--update-delay", "0s", "fails", exits=2)
    assert said.startswith("service update paused: ")
    assert "non-zero exit (7)" in said
    clis.shoal("service", "update", "--args", "sleep 1000", "--update-failure-action", "rollback", "--quiet", "fails")
    rolled = clis.shoal_fails("service", "update", "--args", "sh -c 'exit 8'", "fails", exits=2)
    assert "was rolled back: " in rolled
    assert "non-zero exit (8)" in rolled
    clis.shoal("service", "rm", "fails")


def test_ctrl_c_leaves_the_work_going_on_and_says_how_to_look(clis: Clis) -> None:
    process = clis.start("shoal", "service", "create", "--no-resolve-image", "--name", "slow", "--constraint", "node.role==worker", IMAGE)
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    assert "overall progress" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out.splitlines()[-2:] == ["Operation continuing in background.", f"Use `shoal service ps {first}` to check progress."]
    clis.shoal("service", "rm", "slow")


def test_logs_come_with_their_task_and_node_or_raw(populated: Clis) -> None:
    lines = populated.shoal("service", "logs", "talk").splitlines()
    assert [line.partition(" | ")[2] for line in lines] == ["out 1", "out 2", "out 3"]
    assert re.fullmatch(r"talk\.1\.[0-9a-z]{12}@\S+ +", lines[0].partition("| ")[0])
    assert populated.shoal("service", "logs", "--raw", "--tail", "1", "talk") == "out 3"
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z talk\.1@", populated.shoal("service", "logs", "-t", "-n", "1", "--no-task-ids", "talk"))
    task = populated.shoal("service", "ps", "-q", "talk")
    assert populated.shoal("task", "logs", "--raw", "-n", "2", task).splitlines() == ["out 2", "out 3"]
    theirs = populated.run("docker", "service", "logs", "--no-trunc", "talk")[1]
    assert populated.run("shoal", "service", "logs", "--no-trunc", "talk")[1] == theirs


def test_followed_logs_show_lines_as_they_are_written(populated: Clis) -> None:
    process = populated.start("shoal", "service", "logs", "-f", "--raw", "talk")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["out 1\n", "out 2\n", "out 3\n"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_events_tell_of_services_with_their_names(clis: Clis) -> None:
    since = str(int(time.time()) - 1)
    clis.shoal("service", "create", "-d", "--no-resolve-image", "--name", "seen", "--replicas", "0", IMAGE)
    clis.shoal("service", "rm", "seen")
    line = ["events", "--since", since, "--until", "0s", "--filter", "type=service", "--format", "{{.Action}} {{.Actor.Attributes.name}}"]
    until(lambda: clis.shoal(*line).splitlines()[-2:] == ["create seen", "remove seen"], "both events are told")


def test_a_stack_is_deployed_changed_pruned_and_removed(clis: Clis, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yml", tmp_path / "b.yml"
    service = f"{{image: '{IMAGE}', command: %s, stop_grace_period: 0s, deploy: {{update_config: {{monitor: 1s}}}}}}"
    first.write_text(f"services: {{x: {service % 'sleep 1000'}, y: {service % 'sleep 1000'}}}\n")
    second.write_text(f"services: {{x: {service % 'sleep 2000'}}}\n")
    deploy = ["stack", "deploy", "--resolve-image", "never", "--detach=false", "--quiet"]
    assert clis.shoal(*deploy, "-c", str(first), "st").splitlines() == [
        "Creating network st_default",
        "Creating service st_x",
        "Creating service st_y",
    ]
    lines = clis.shoal(*deploy, "--prune", "-c", str(second), "st").splitlines()
    assert lines[0] == "Removing service st_y"
    assert lines[1].startswith("Updating service st_x (id: ")
    assert "st 1" in clis.shoal("stack", "ls", "--format", "{{.Name}} {{.Services}}").splitlines()
    assert "services:" in clis.shoal("stack", "config", "-c", str(second))
    assert clis.shoal("stack", "rm", "--detach=false", "st").splitlines() == ["Removing service st_x", "Removing network st_default"]


def test_a_stack_file_error_names_file_and_line(clis: Clis, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("services:\n  x:\n    imagee: y\n")
    assert re.search(r"broken\.yml:3: .*imagee", clis.shoal_fails("stack", "deploy", "-c", str(broken), "st"))
    assert "No such file" in clis.shoal_fails("stack", "deploy", "-c", str(tmp_path / "none.yml"), "st")


def test_nodes_and_the_swarm_are_changed(clis: Clis) -> None:
    name = clis.shoal("node", "ls", "--format", "{{.Hostname}}")
    assert clis.shoal("node", "update", "--label-add", "rack=1", "--availability", "pause", name) == name
    assert clis.shoal("node", "inspect", "self", "-f", "{{.Spec.Labels.rack}} {{.Spec.Availability}}") == "1 pause"
    clis.shoal("node", "update", "--label-rm", "rack", "--availability", "active", name)
    assert clis.shoal("node", "promote", name).endswith("is already a manager.")
    assert clis.shoal("swarm", "update", "--task-history-limit", "4") == "Swarm updated."
    before = clis.shoal("swarm", "join-token", "-q", "worker")
    assert clis.shoal("swarm", "join-token", "-q", "--rotate", "worker") != before
    assert f"{name}" in clis.shoal("node", "inspect", "--pretty", "self")


def test_the_shell_completes_names_from_the_swarm(populated: Clis) -> None:
    def completed(*words: str) -> list[str]:
        env = {**populated.env, "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_SHOAL_COMPLETE": "bash_complete"}
        env["SHOAL_HOST"] = populated.socket
        out = subprocess.run([sys.executable, "-m", "cli.main"], env=env, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        return [line.partition(",")[2] for line in out.stdout.split()]

    assert completed("shoal", "service", "ps", "w") == ["web"]
    assert completed("shoal", "stack", "rm", "") == ["shop"]
    assert completed("shoal", "secret", "inspect", "key1") == ["key1"]
    assert completed("shoal", "service", "create", "--network", "net") == ["net1"]
    assert completed("shoal", "-H", "/nowhere.sock", "service", "ps", "") == []
