"""Debian's docker command line of 2020 (20.10, API 1.41) on a real cluster: the main verbs of every noun of the swarm."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, run, wait_until

OLD = "/usr/bin/docker"
pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not os.path.exists(OLD), reason=f"needs Debian's docker CLI at {OLD} (apt-get install docker.io)"),
]
IMAGE = "shoal-lab"
QUICK = ("--detach", "--no-resolve-image", "--stop-grace-period", "0s")
Cli = Callable[..., str]


@pytest.fixture
def cli(manager: Daemon, tmp_path: Path) -> Iterator[Cli]:
    """The old client on a manager; it leaves no service."""
    env = {**os.environ, "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}

    def docker(*words: str, stdin: bytes | None = None) -> str:
        return run((OLD, "-H", manager.url, *words), stdin=stdin, env=env)

    if not docker("version", "--format", "{{.Client.Version}}").startswith("20."):
        pytest.skip(f"{OLD} is not the client of 2020")
    yield docker
    if services := docker("service", "ls", "-q").split():
        docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")


def test_nodes_and_the_swarm_are_shown_and_changed(cli: Cli, cluster: Cluster) -> None:
    assert cli("version", "--format", "{{.Client.APIVersion}}") == "1.41"
    assert cli("node", "ls", "--format", "{{.Hostname}} {{.Status}}").split("\n") == sorted(f"{name} Ready" for name in cluster.daemons)
    assert "Leader" in cli("node", "ls")
    assert cli("node", "inspect", "self", "--format", "{{.Description.Hostname}}") == "m1"
    assert "Hostname" in cli("node", "inspect", "--pretty", "w1")
    cli("node", "update", "--label-add", "disk=ssd", "w1")
    assert cli("node", "ls", "--filter", "node.label=disk=ssd", "--format", "{{.Hostname}}") == "w1"
    cli("node", "update", "--label-rm", "disk", "w1")
    cli("node", "promote", "w2")
    wait_until(lambda: "Reachable" in cli("node", "ls", "--filter", "name=w2"), what="w2 is a manager")
    cli("node", "demote", "w2")
    wait_until(lambda: "Reachable" not in cli("node", "ls", "--filter", "name=w2"), what="w2 is none")
    wait_until(lambda: cluster.daemons["w2"].docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active", what="w2 is a worker")
    assert "SWMTKN-1-" in cli("swarm", "join-token", "worker")
    cli("swarm", "update", "--task-history-limit", "4")
    assert "Task History Retention Limit: 4" in cli("info")
    cli("swarm", "update", "--task-history-limit", "5")


def test_a_service_lives_from_create_to_rm(cli: Cli, manager: Daemon) -> None:
    cli("service", "create", *QUICK, "--name", "web", "--replicas", "2", "--update-monitor", "100ms", IMAGE, "sleep", "1000")
    manager.wait_running("web", 2)
    assert cli("service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Replicas}}") == "web replicated 2/2"
    assert len(cli("service", "ps", "-q", "web").split()) == 2
    assert "Replicas:\t2" in cli("service", "inspect", "--pretty", "web")
    assert "converged" in cli("service", "scale", "web=3")
    cli("service", "update", "--env-add", "COLOUR=blue", "--quiet", "web")
    spec = json.loads(cli("service", "inspect", "web"))[0]
    assert spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["COLOUR=blue"]
    assert spec["UpdateStatus"]["State"] == "completed"
    cli("service", "rollback", "--quiet", "web")
    assert "Env" not in json.loads(cli("service", "inspect", "web"))[0]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert cli("service", "rm", "web") == "web"


def test_jobs_globals_and_what_no_node_takes(cli: Cli, manager: Daemon) -> None:
    cli("service", "create", "--no-resolve-image", "--quiet", "--name", "job", "--mode", "replicated-job", "--replicas", "2", IMAGE, "true")
    assert cli("service", "ls", "--filter", "name=job", "--format", "{{.Replicas}}") == "0/0 (2/2 completed)"
    cli("service", "create", *QUICK, "--name", "agent", "--mode", "global", IMAGE, "sleep", "1000")
    manager.wait_running("agent", 5)
    cli("service", "create", *QUICK, "--name", "nowhere", "--constraint", "node.labels.disk==ssd", IMAGE, "sleep", "1000")
    wait_until(lambda: "no suitable node" in cli("service", "ps", "--no-trunc", "nowhere"), what="it is said why")
    with pytest.raises(CommandFailed, match=r"unknown key .node\.colour"):
        cli("service", "create", *QUICK, "--constraint", "node.colour==red", IMAGE)


def test_logs_come_whole_and_followed(cli: Cli, manager: Daemon) -> None:
    talk = "echo oops >&2; sleep 0.3; echo hello; exec sleep 1000"
    cli("service", "create", *QUICK, "--name", "talk", "--replicas", "3", IMAGE, "sh", "-c", talk)
    manager.wait_running("talk", 3)
    wait_until(lambda: cli("service", "logs", "--raw", "talk").splitlines().count("hello") == 3, what="each has said hello")
    assert cli("service", "logs", "--timestamps", "--details", "--tail", "1", "talk")
    with subprocess.Popen((OLD, "-H", manager.url, "service", "logs", "-f", "--raw", "talk"), stdout=subprocess.PIPE) as follow:
        assert follow.stdout is not None
        assert [follow.stdout.readline() for _ in range(3)] == [b"hello\n"] * 3
        follow.kill()


def test_secrets_configs_and_networks(cli: Cli, manager: Daemon, cluster: Cluster) -> None:
    cli("secret", "create", "--label", "a=b", "password", "-", stdin=b"hunter2")
    cli("config", "create", "page", "-", stdin=b"hello")
    cli("network", "create", "-d", "overlay", "--attachable", "front")
    assert cli("secret", "ls", "--filter", "label=a=b", "--format", "{{.Name}}") == "password"
    assert "hello" in cli("config", "inspect", "--pretty", "page")
    assert cli("network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}}").split() == ["front", "ingress"]
    flags = ("--secret", "password", "--config", "source=page,target=/page", "--network", "front", "--constraint", "node.hostname==w1")
    cli("service", "create", *QUICK, "--name", "web", *flags, "-p", "8401:80", IMAGE, "sleep", "1000")
    (task,) = manager.wait_running("web", 1)
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    assert cluster.daemons["w1"].docker("exec", container, "cat", "/run/secrets/password", "/page") == "hunter2hello"
    assert cli("service", "ls", "--format", "{{.Ports}}") == "*:8401->80/tcp"
    with pytest.raises(CommandFailed, match="in use by the following service: web"):
        cli("secret", "rm", "password")
    assert "10." in cli("run", "--rm", "--network", "front", IMAGE, "ip", "addr")
    cli("service", "rm", "web")
    cli("secret", "rm", "password")
    cli("config", "rm", "page")
    wait_until(lambda: cli("network", "rm", "front"), what="the network goes")


def test_a_container_joins_a_network_that_was_just_made(cli: Cli) -> None:
    for turn in range(5):
        cli("network", "create", "-d", "overlay", "--attachable", f"fresh{turn}")
        assert "10." in cli("run", "--rm", "--network", f"fresh{turn}", IMAGE, "ip", "addr")
        wait_until(lambda turn=turn: cli("network", "rm", f"fresh{turn}"), what="the network goes")


def test_a_stack_comes_and_goes(cli: Cli, manager: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    web = f"  web: {{image: {IMAGE}, command: sleep 1000, stop_grace_period: 0s, networks: [front], deploy: {{replicas: 2}}}}\n"
    file.write_text(f'version: "3.8"\nservices:\n{web}networks: {{front: }}\n')
    cli("stack", "deploy", "--resolve-image", "never", "-c", str(file), "shop")
    manager.wait_running("shop_web", 2)
    assert cli("stack", "ls", "--format", "{{.Name}} {{.Services}}") == "shop 1"
    assert cli("stack", "services", "shop", "--format", "{{.Replicas}}") == "2/2"
    assert len(cli("stack", "ps", "-q", "shop").split()) == 2
    cli("stack", "rm", "shop")
    wait_until(lambda: "shop_front" not in cli("network", "ls", "--format", "{{.Name}}"), what="the network goes too")


def test_events_and_containers(cli: Cli, manager: Daemon) -> None:
    begun = cli("info", "--format", "{{.SystemTime}}")
    cli("service", "create", *QUICK, "--name", "web", IMAGE, "sleep", "1000")
    manager.wait_running("web", 1)
    told = cli("events", "--since", begun, "--until", str(int(time.time()) + 1), "--filter", "type=service", "--format", "{{.Action}}")
    assert told.split()[0] == "create"
    assert cli("run", "--rm", "-i", IMAGE, "cat", stdin=b"half-closed") == "half-closed"
