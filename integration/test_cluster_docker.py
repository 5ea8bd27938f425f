"""The stock docker CLI and docker-py drive a real cluster: every noun of the swarm, through whichever manager."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves the cluster without services, and sees that their containers go."""
    yield
    if "manager" not in request.fixturenames and "cluster" not in request.fixturenames:
        return
    manager: Daemon = request.getfixturevalue("cluster").daemons["m1"]
    if services := manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = FOREVER) -> str:
    return manager.docker("service", "create", "--detach", "--no-resolve-image", "--name", name, *flags, IMAGE, *command)


def test_every_manager_shows_the_same_nodes_and_one_leader(cluster: Cluster) -> None:
    seen = set()
    for name in ("m1", "m2", "m3"):
        nodes = cluster.daemons[name].get("/nodes")
        seen.add(tuple(sorted((node["Description"]["Hostname"], node["Spec"]["Role"], node["Status"]["State"]) for node in nodes)))
        assert sum(node.get("ManagerStatus", {}).get("Leader", False) for node in nodes) == 1
    assert len(seen) == 1
    assert {host for host, _, _ in seen.pop()} == {"m1", "m2", "m3", "w1", "w2"}


def test_a_service_created_on_a_follower_runs_and_is_seen_by_the_others(cluster: Cluster) -> None:
    follower = next(cluster.daemons[name] for name in ("m1", "m2", "m3") if cluster.daemons[name] is not cluster.leader())
    create(follower, "web", "--replicas", "5")
    tasks = cluster.leader().wait_running("web", 5)
    assert len({task["NodeID"] for task in tasks}) == 5, "five replicas on five nodes"
    assert [task["Slot"] for task in sorted(tasks, key=lambda task: int(task["Slot"]))] == [1, 2, 3, 4, 5]


def test_scale_up_and_down_keeps_the_tasks_that_stay(manager: Daemon) -> None:
    create(manager, "web", "--replicas", "2")
    before = {task["ID"] for task in manager.wait_running("web", 2)}
    manager.docker("service", "scale", "web=4")
    assert before <= {task["ID"] for task in manager.wait_running("web", 4)}
    manager.docker("service", "scale", "--detach", "web=1")
    manager.wait_running("web", 1)


def test_a_global_service_runs_once_on_every_node(manager: Daemon) -> None:
    create(manager, "agent", "--mode", "global")
    assert len({task["NodeID"] for task in manager.wait_running("agent", 5)}) == 5


def test_a_job_completes_and_stays_complete(manager: Daemon) -> None:
    manager.docker("service", "create", "--no-resolve-image", "--name", "job", "--mode", "replicated-job", "--replicas", "3", IMAGE, "true")
    row = manager.docker("service", "ls", "--format", "{{.Replicas}}", "--filter", "name=job")
    assert row == "0/0 (3/3 completed)"


def test_constraints_place_and_an_impossible_one_says_why(manager: Daemon) -> None:
    create(manager, "here", "--constraint", "node.hostname==w2", "--replicas", "2")
    nodes = {node["ID"]: node["Description"]["Hostname"] for node in manager.get("/nodes")}
    assert {nodes[task["NodeID"]] for task in manager.wait_running("here", 2)} == {"w2"}
    create(manager, "nowhere", "--constraint", "node.labels.disk==ssd")

    def reason() -> str:
        (task,) = manager.tasks("nowhere", "pending")
        return str(task["Status"].get("Err", ""))

    said = wait_until(reason, what="the reason is told")
    assert "no suitable node (scheduling constraints not satisfied on 5 nodes)" in said


def test_a_rolling_update_replaces_all_and_a_rollback_returns(manager: Daemon) -> None:
    create(manager, "web", "--replicas", "3", "--update-monitor", "200ms", "--update-delay", "0s", "--rollback-monitor", "200ms")
    first = {task["ID"] for task in manager.wait_running("web", 3)}
    manager.docker("service", "update", "--env-add", "COLOUR=blue", "--quiet", "web")
    second = {task["ID"] for task in manager.wait_running("web", 3)}
    assert not first & second
    spec = manager.get("/services/web")
    assert spec["UpdateStatus"]["State"] == "completed"
    manager.docker("service", "rollback", "--quiet", "web")
    after = manager.get("/services/web")
    assert "Env" not in after["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert after["UpdateStatus"]["State"] == "rollback_completed"


def test_an_update_that_needs_no_restart_restarts_nothing(manager: Daemon) -> None:
    create(manager, "web", "--replicas", "2")
    before = {task["ID"] for task in manager.wait_running("web", 2)}
    manager.docker("service", "update", "--quiet", "--label-add", "team=a", "--update-parallelism", "2", "--update-monitor", "1ns", "web")
    assert before == {task["ID"] for task in manager.wait_running("web", 2)}


def test_a_secret_and_a_config_reach_only_their_users_and_go_with_them(cluster: Cluster, manager: Daemon) -> None:
    begun = manager.docker("info", "--format", "{{.SystemTime}}")
    manager.docker("secret", "create", "password", "-", stdin=b"hunter2")
    manager.docker("config", "create", "page", "-", stdin=b"hello")
    create(
        manager, "web", "--constraint", "node.hostname==w1",
        "--secret", "source=password,target=pw,uid=3,gid=4,mode=0400", "--config", "source=page,target=/etc/page",
    )  # fmt: skip
    (task,) = manager.wait_running("web", 1)
    home = cluster.daemons["w1"]
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    assert home.docker("exec", container, "cat", "/run/secrets/pw", "/etc/page") == "hunter2hello"
    assert home.docker("exec", container, "stat", "-c", "%u %g %a", "/run/secrets/pw") == "3 4 400"
    inspected = home.docker("inspect", container)
    assert "hunter2" not in inspected
    secrets = home.folder / "run" / "secrets"
    assert any(b"hunter2" in path.read_bytes() for path in secrets.rglob("*") if path.is_file())
    assert not (cluster.daemons["w2"].folder / "run" / "secrets" / task["ID"]).exists()
    with pytest.raises(CommandFailed, match="secret 'password' is in use by the following service: web"):
        manager.docker("secret", "rm", "password")
    manager.docker("service", "rm", "web")
    wait_until(lambda: not [path for path in secrets.rglob("*") if path.is_file()], what="the secret is gone from the node")
    for daemon in cluster.daemons.values():
        found = [path for path in (daemon.folder / "data").glob("swarm/**/*") if path.is_file() and b"hunter2" in path.read_bytes()]
        assert found == [], "a secret lies on a disk in the clear"
    manager.docker("secret", "rm", "password")
    manager.docker("config", "rm", "page")
    told = manager.docker(
        *("events", "--since", begun, "--until", manager.docker("info", "--format", "{{.SystemTime}}")),
        *("--filter", "type=secret", "--filter", "type=config", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"),
    )
    assert told.splitlines() == ["secret create password", "config create page", "secret remove password", "config remove page"]


def test_logs_come_from_every_node_through_any_manager(cluster: Cluster, manager: Daemon) -> None:
    create(manager, "talk", "--replicas", "5", command=("sh", "-c", "echo I am $HOSTNAME; echo oops >&2; exec sleep 1000"))
    manager.wait_running("talk", 5)
    for name in ("m1", "m3"):
        lines = cluster.daemons[name].docker("service", "logs", "--no-task-ids", "talk").splitlines()
        assert len([line for line in lines if "I am" in line]) == 5, lines
        assert {line.split("@")[1].split()[0] for line in lines} == {"m1", "m2", "m3", "w1", "w2"}
    details = manager.docker("service", "logs", "--details", "--timestamps", "--tail", "2", "talk")
    assert "com.docker.swarm.task.id" in details or "talk." in details


def test_a_stack_comes_changes_and_goes(manager: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(
        f"""
services:
  web:
    image: {IMAGE}
    command: [sh, -c, "exec sleep 1000"]
    stop_grace_period: 0s
    networks: [front]
    deploy: {{replicas: 2}}
  db:
    image: {IMAGE}
    command: [sleep, "1000"]
    stop_grace_period: 0s
    networks: [front]
networks:
  front:
"""
    )
    manager.docker("stack", "deploy", "--detach=true", "--resolve-image=never", "-c", str(file), "shop")
    manager.wait_running("shop_web", 2)
    manager.wait_running("shop_db", 1)
    assert manager.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}") == "shop 2"
    assert manager.docker("stack", "services", "-q", "shop").count("\n") == 1
    task = manager.tasks("shop_web")[0]
    assert task["NetworksAttachments"][0]["Network"]["Spec"]["Name"] == "shop_front"
    file.write_text(file.read_text().replace("replicas: 2", "replicas: 3"))
    manager.shoal("stack", "deploy", "--detach=true", "--resolve-image=never", "-c", str(file), "shop")
    manager.wait_running("shop_web", 3)
    manager.docker("stack", "rm", "shop")
    wait_until(lambda: "shop_front" not in manager.docker("network", "ls", "--format", "{{.Name}}"), what="the network goes too")


def test_names_and_virtual_addresses_work_across_nodes(cluster: Cluster, manager: Daemon) -> None:
    manager.docker("network", "create", "-d", "overlay", "front")
    answer = "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s\\n' $HOSTNAME | nc -l -p 8000; done"
    create(manager, "web", "--network", "front", "--replicas", "3", "--stop-grace-period", "0s", command=("sh", "-c", answer))
    create(manager, "client", "--network", "front", "--constraint", "node.hostname==w1", "--stop-grace-period", "0s")
    manager.wait_running("web", 3)
    (task,) = manager.wait_running("client", 1)
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    client = cluster.daemons["w1"]

    def ask(name: str) -> str:
        return client.docker("exec", container, "sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {name} 8000 | tail -1")

    wait_until(lambda: ask("web"), what="web answers by its name")
    seen = {ask("web") for _ in range(30)} - {""}
    assert len(seen) == 3, seen
    addresses = client.docker("exec", container, "nslookup", "tasks.web")
    assert addresses.count("Address") >= 4, addresses
    vip = manager.get("/services/web")["Endpoint"]["VirtualIPs"][0]["Addr"].split("/")[0]
    assert vip in client.docker("exec", container, "nslookup", "web")
    manager.docker("service", "rm", "web", "client")
    wait_until(lambda: manager.docker("network", "rm", "front"), what="the network can be removed")


def test_a_container_with_docker_sock_sees_the_swarm(cluster: Cluster, manager: Daemon) -> None:
    """What Traefik, Portainer and cron jobs do: a bind of /var/run/docker.sock is Shoal's socket, also in a plain container."""
    create(manager, "web")
    create(
        manager, "watcher", "--constraint", "node.hostname==m1",
        "--mount", "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock",
    )  # fmt: skip
    (task,) = manager.wait_running("watcher", 1)
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    source = json.loads(manager.docker("inspect", container))[0]["HostConfig"]
    assert str(manager.socket) in json.dumps(source)
    client = docker.DockerClient(base_url=manager.url)
    try:
        assert {service.name for service in client.services.list()} == {"web", "watcher"}
        assert client.nodes.list(filters={"role": "manager"})
        service = client.services.get("web")
        assert service.scale(2)
    finally:
        client.close()
    manager.wait_running("web", 2)


def test_docker_run_and_the_swarm_share_one_machine(cluster: Cluster, manager: Daemon) -> None:
    assert manager.docker("run", "--rm", "-i", IMAGE, "cat", stdin=b"half-closed") == "half-closed"
    manager.docker("run", "-d", "--name", "plain", IMAGE, "sleep", "1000")
    create(manager, "web", "--mode", "global")
    manager.wait_running("web", 5)
    names = manager.docker("ps", "--format", "{{.Names}}").split()
    assert "plain" in names
    assert any(name.startswith("web.") for name in names)
    manager.docker("rm", "-f", "plain")


def test_stopping_a_task_behind_our_back_brings_a_new_one(cluster: Cluster, manager: Daemon) -> None:
    create(manager, "web", "--constraint", "node.hostname==w2", "--restart-delay", "0s")
    (task,) = manager.wait_running("web", 1)
    cluster.daemons["w2"].docker("stop", "-t", "0", task["Status"]["ContainerStatus"]["ContainerID"])
    fresh = wait_until(
        lambda: [one for one in manager.tasks("web") if one["ID"] != task["ID"]], what="a new task takes the place of the stopped one"
    )
    assert fresh[0]["Slot"] == task["Slot"]


def test_events_tell_what_happens_to_services(manager: Daemon) -> None:
    begun = manager.docker("info", "--format", "{{.SystemTime}}")
    create(manager, "web")
    manager.wait_running("web", 1)
    manager.docker("service", "scale", "--detach", "web=2")
    manager.docker("service", "rm", "web")
    ended = str(int(time.time()) + 1)
    lines = manager.docker("events", "--since", begun, "--until", ended, "--filter", "type=service", "--format", "{{json .}}").splitlines()
    events = [json.loads(line) for line in lines]
    assert next(event["Action"] for event in events if event["Actor"]["Attributes"]["name"] == "web") == "create"
    update = next(event for event in events if event["Actor"]["Attributes"].get("replicas.new") == "2")
    assert (update["Actor"]["Attributes"]["replicas.old"], update["scope"]) == ("1", "swarm")
    assert events[-1]["Action"] == "remove"
