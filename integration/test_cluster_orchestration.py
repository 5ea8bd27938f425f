"""What Shoal adds to Swarm's orchestration, typed on a real cluster of a manager and two workers."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, run, wait_until
from integration.netlab import why_no_engine

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(300)]

IMAGE = "shoal-lab"
SLEEP = ("sleep", "100000")
OWN = ("--node-generic-resource", "card=c1")
"""What the daemons are started with."""


@pytest.fixture(scope="module")
def manager(archive: Path) -> Iterator[Daemon]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-orchestration-"))
    with Cluster("orchestration", folder, network="10.94.0") as running:
        first = running.bring_up(*OWN, managers=1, workers=2, archive=archive, image=IMAGE)
        wait_until(
            lambda: len([one for one in first.get("/nodes") if one["Status"]["State"] == "ready"]) == 3, what="three nodes are ready"
        )
        yield first
    shutil.rmtree(folder, ignore_errors=True)


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = SLEEP) -> None:
    manager.shoal(
        "service", "create", "--detach", "--no-resolve-image", "--stop-grace-period", "1s", "--name", name, *flags, IMAGE, *command
    )


def refused(manager: Daemon, *words: str) -> CommandFailed:
    with pytest.raises(CommandFailed) as failed:
        manager.shoal(*words)
    return failed.value


def saying(manager: Daemon, words: str, *command: str) -> Callable[[], str]:
    """What the command says, once it says these words."""

    def said() -> str:
        shown = manager.shoal(*command)
        return shown if words in shown else ""

    return said


def test_a_port_is_published_on_one_address_whatever_other_clients_do_to_the_service(manager: Daemon) -> None:
    create(manager, "near", "--publish", "127.0.0.1:8480:80")
    manager.wait_running("near", 1)
    assert manager.shoal("service", "ls", "--filter", "name=near", "--format", "{{.Ports}}") == "127.0.0.1:8480->80/tcp"

    def bound() -> set[str]:
        lines = manager.host.run("ss", "-ltnH").splitlines()
        return {line.split()[3] for line in lines if line.split()[3].endswith(":8480")}

    wait_until(lambda: bound() == {"127.0.0.1:8480"}, what="it is held on that address")
    manager.docker("service", "update", "--detach", "--label-add", "a=b", "near")
    assert manager.get("/services/near")["Endpoint"]["Ports"][0]["HostIP"] == "127.0.0.1"
    manager.shoal("service", "update", "--detach", "--publish-add", "8480:80", "near")
    wait_until(lambda: "0.0.0.0:8480" in bound(), what="it is open")
    manager.shoal("service", "rm", "near")


def places(manager: Daemon, service: str) -> Counter[str]:
    return Counter(task["NodeID"] for task in manager.tasks(service))


def node_id(manager: Daemon, name: str) -> str:
    return manager.docker("node", "inspect", "-f", "{{.ID}}", name)


def test_why_tells_for_each_node_what_is_missing(manager: Daemon) -> None:
    begun = manager.docker("info", "--format", "{{.SystemTime}}")
    create(manager, "big", "--reserve-memory", "1000G", "--constraint", "node.role==worker")
    told = wait_until(saying(manager, "memory: needs", "service", "why", "big"), what="an explanation")
    assert "big: 0 of 1 tasks serve" in told
    assert told.count("memory: needs 1000 GiB; ") == 3
    assert "constraint: node.role==worker; m1 has manager" in told
    (task,) = manager.tasks("big", "pending")
    assert "memory: needs 1000 GiB" in manager.shoal("task", "why", task["ID"])
    manager.docker("service", "rm", "big")
    now, wanted = manager.docker("info", "--format", "{{.SystemTime}}"), "label=com.docker.swarm.service.name=big"
    events = manager.docker(
        *("events", "--since", begun, "--until", now, "--filter", "type=task", "--filter", wanted),
        *("--format", '{{.Action}} {{index .Actor.Attributes "state.new"}} {{.Actor.Attributes.reason}}'),
    ).splitlines()
    assert events[0].startswith("create new")
    assert any(line.startswith("update") and "no suitable node (" in line for line in events)


def test_a_crash_loop_backs_off_says_so_and_leaves_no_more_history_than_allowed(manager: Daemon) -> None:
    manager.docker("swarm", "update", "--task-history-limit", "3")
    create(manager, "crash", "--restart-delay", "0s", command=("sh", "-c", "exit 3"))
    shown = wait_until(saying(manager, "back-off after", "service", "ps", "--no-trunc", "crash"), what="back-off")
    assert "non-zero exit (3)" in shown
    service = manager.get("/services/crash")["ID"]
    wait_until(lambda: [task["ServiceID"] for task in manager.get("/tasks")].count(service) == 3, what="no more tasks are kept")
    manager.docker("service", "rm", "crash")
    manager.docker("swarm", "update", "--task-history-limit", "5")


def test_a_task_that_is_not_ready_runs_on_out_of_traffic(manager: Daemon) -> None:
    manager.docker("network", "create", "-d", "overlay", "--attachable", "orc")
    ready = ("--readiness-cmd", "test -f /tmp/ok", "--readiness-interval", "1s", "--readiness-retries", "1")
    here = ("--constraint", "node.role==manager")  # the test enters both containers through this node
    create(manager, "gate", "--network", "orc", *here, *ready)
    create(manager, "ask", "--network", "orc", *here)
    (asker,) = manager.wait_running("ask", 1)
    (task,) = manager.wait_running("gate", 1)
    address = task["NetworksAttachments"][0]["Addresses"][0].partition("/")[0]

    def named() -> bool:
        with suppress(CommandFailed):
            return address in manager.docker("exec", asker["Status"]["ContainerStatus"]["ContainerID"], "nslookup", "tasks.gate")
        return False

    assert "readiness: exit 1" in wait_until(lambda: manager.get(f"/tasks/{task['ID']}")["Status"].get("Err", ""), what="the reason")
    assert "not ready for traffic" in manager.shoal("service", "why", "gate")
    assert not named()
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    manager.docker("exec", container, "touch", "/tmp/ok")
    wait_until(lambda: "1 of 1 tasks serve" in manager.shoal("service", "why", "gate"), what="the task to be ready")
    wait_until(named, what="the task to have its name")
    manager.docker("exec", container, "rm", "/tmp/ok")
    wait_until(lambda: "0 of 1 tasks serve" in manager.shoal("service", "why", "gate"), what="the task to lose traffic")
    wait_until(lambda: not named(), what="the task to lose its name")
    assert [one["ID"] for one in manager.tasks("gate")] == [task["ID"]]
    manager.docker("service", "rm", "gate", "ask")


WEB = ("sh", "-c", "mkdir -p /tmp/www && hostname > /tmp/www/who && httpd -f -p 8080 -h /tmp/www")


def test_a_node_takes_a_task_out_of_traffic_without_a_manager(manager: Daemon) -> None:
    workers = [f"unix://{manager.folder.parent / name / 'run' / 'shoal.sock'}" for name in ("w1", "w2")]
    ids = [node_id(manager, name) for name in ("w1", "w2")]
    manager.docker("network", "create", "-d", "overlay", "--attachable", "front")
    there = ("--constraint", "node.role==worker", "--network", "front", "--mode", "global")
    ready = ("--readiness-http", "8080/ok", "--readiness-interval", "1s", "--readiness-retries", "1")
    create(manager, "web", *there, *ready, command=WEB)
    create(manager, "client", *there)
    create(manager, "guarded", "--constraint", "node.hostname==w2", "--on-disconnect", "stop", "--restart-delay", "0s")
    manager.wait_running("guarded", 1)
    container = {
        (name, task["NodeID"]): task["Status"]["ContainerStatus"]["ContainerID"]
        for name in ("web", "client")
        for task in manager.wait_running(name, 2)
    }
    wait_until(saying(manager, "GET /ok on port 8080: 404 Not Found", "service", "why", "web"), what="the reason")

    def on(worker: int, service: str, *command: str) -> str:
        return run(("docker", "-H", workers[worker], "exec", container[service, ids[worker]], *command))

    (vip,) = manager.get("/services/web")["Endpoint"]["VirtualIPs"]

    def answering() -> int:
        ask = f"printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {vip['Addr'].partition('/')[0]} 8080 | tail -n 1"
        return len({on(0, "client", "sh", "-c", ask) for _ in range(12)})

    for worker in (0, 1):
        on(worker, "web", "touch", "/tmp/www/ok")
    wait_until(lambda: answering() == 2, what="both tasks to answer")
    manager.kill()
    try:
        on(0, "web", "rm", "/tmp/www/ok")
        wait_until(lambda: answering() == 1, what="the task that is not ready to be out of traffic on its own node")
        on(0, "web", "touch", "/tmp/www/ok")
        wait_until(lambda: answering() == 2, what="the task to be in traffic again")
        names = ("docker", "-H", workers[1], "ps", "--format", "{{.Names}}")
        wait_until(lambda: "guarded" not in run(names), what="the task to stop that shall not run where no manager is in reach")
        assert "web" in run(names)
    finally:
        manager.start(*OWN)
    manager.wait_running("web", 2)
    manager.wait_running("guarded", 1)
    manager.docker("service", "rm", "web", "client", "guarded")


def test_services_start_in_order_and_circles_are_refused(manager: Daemon) -> None:
    create(manager, "app", "--depends-on", "job:service_completed_successfully", "--depends-on", "db:service_healthy")
    wait_until(lambda: "waiting for service job" in manager.shoal("service", "why", "app"), what="the reason")
    create(manager, "db", "--health-cmd", "true", "--health-interval", "1s")
    create(manager, "job", "--mode", "replicated-job", command=("sh", "-c", "sleep 2"))
    manager.wait_running("app", 1)
    failed = refused(manager, "service", "update", "--detach", "--depends-on", "app", "db")
    assert "circle: db -> app -> db" in failed.said
    manager.docker("service", "rm", "app", "db", "job")


def test_rebalancing_and_a_drain_leave_no_gap(manager: Daemon) -> None:
    for name in ("w1", "w2"):
        manager.shoal("node", "update", "--availability", "drain", name)
    create(manager, "spread", "--replicas", "6")
    create(manager, "follows", "--replicas", "3", "--rebalance", "1")
    manager.wait_running("spread", 6)
    manager.wait_running("follows", 3)
    for name in ("w1", "w2"):
        manager.shoal("node", "update", "--availability", "active", name)
    least = 6

    def even() -> bool:
        nonlocal least
        least = min(least, len(manager.tasks("spread")))
        return sorted(places(manager, "spread").values()) == [2, 2, 2]

    manager.shoal("service", "rebalance", "--detach", "--parallelism", "2", "spread")
    wait_until(even, what="two tasks on each node", every=0.01)
    wait_until(lambda: len(places(manager, "follows")) == 3, what="a service to move by itself to nodes that take tasks again")
    manager.shoal("node", "update", "--availability", "drain", "--order", "start-first", "w1")

    def empty() -> bool:
        nonlocal least
        least = min(least, len(manager.tasks("spread")))
        return node_id(manager, "w1") not in places(manager, "spread")

    wait_until(empty, what="the drained node to be empty", every=0.01)
    assert least == 6
    manager.shoal("node", "update", "--availability", "active", "w1")
    assert "io.shoal.drain-order" not in manager.docker("node", "inspect", "w1")
    manager.docker("service", "rm", "spread", "follows")


def test_any_kept_version_can_be_gone_back_to(manager: Daemon) -> None:
    create(manager, "hist", "--env", "V=1")
    manager.wait_running("hist", 1)
    for number in (2, 3):
        manager.shoal("service", "update", "--detach", "--env-add", f"V={number}", "hist")
    shown = manager.shoal("service", "history", "--no-trunc", "hist").splitlines()
    assert len(shown) == 4
    assert "TaskTemplate.ContainerSpec.Env: V=2 -> V=3" in shown[1]
    manager.shoal("service", "rollback", "--detach", "--to", shown[3].split()[0], "hist")
    spec = manager.get("/services/hist")["Spec"]
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == ["V=1"]
    wait_until(
        lambda: [one["Spec"]["ContainerSpec"]["Env"] for one in manager.tasks("hist")] == [["V=1"]], what="the task of the first version"
    )
    manager.docker("service", "rm", "hist")


def test_a_stack_is_planned_deployed_in_order_and_removed(manager: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    text = f"""
services:
  web: {{image: {IMAGE}, command: sleep 100000, depends_on: [db], stop_grace_period: 1s}}
  db: {{image: {IMAGE}, command: sleep 100000, stop_grace_period: 1s}}
"""
    file.write_text(text)
    deploy = ("stack", "deploy", "--resolve-image", "never", "-c", str(file))
    assert "3 to create" in manager.shoal(*deploy, "--dry-run", "shop")
    assert manager.docker("service", "ls", "-q") == ""
    manager.shoal(*deploy, "--detach=false", "--quiet", "shop")
    assert "0 to create, 0 to update" in manager.shoal("stack", "diff", "-c", str(file), "shop")
    file.write_text(text.replace("depends_on: [db]", "environment: {A: b}"))
    told = manager.shoal("stack", "diff", "-c", str(file), "shop")
    assert "~ service shop_web (restarts 1 task)" in told
    assert "TaskTemplate.ContainerSpec.Env: (none) -> A=b" in told
    manager.shoal("stack", "rm", "shop")
    assert manager.get("/tasks") == []
    assert manager.engine("ps", "-q") == ""


def test_a_deploy_that_does_not_converge_exits_with_two_and_the_reason(manager: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(
        f"""
services:
  app: {{image: {IMAGE}, deploy: {{placement: {{constraints: [node.labels.no==where]}}}}}}
  web: {{image: {IMAGE}, command: sh -c "exit 9", deploy: {{restart_policy: {{delay: 100ms}}}}}}
  job: {{image: {IMAGE}, command: sh -c "exit 8", deploy: {{mode: replicated-job, restart_policy: {{condition: none}}}}}}
"""
    )
    failed = refused(manager, "stack", "deploy", "--resolve-image", "never", "--detach=false", "--quiet", "-c", str(file), "bad")
    assert failed.status == 2
    assert "bad_job: replica 1 failed and is not started again (task" in failed.said
    failed = refused(manager, "service", "update", "--no-resolve-image", "--quiet", "--args", 'sh -c "exit 7"', "bad_web")
    assert (failed.status, "non-zero exit (7)" in failed.said) == (2, True)
    file.write_text(f"services: {{web: {{image: {IMAGE}, deploy: {{placement: {{constraints: [node.labels.no==where]}}}}}}}}")
    failed = refused(
        manager, "stack", "deploy", "--resolve-image", "never", "--detach=false", "--quiet", "--timeout", "3s", "-c", str(file), "bad"
    )
    assert failed.status == 2
    assert "scheduling constraints not satisfied on 3 nodes" in failed.said
    manager.shoal("stack", "rm", "bad")


def test_a_device_of_the_host_and_a_named_resource_are_in_the_container(manager: Daemon) -> None:
    own = ("--device", "/dev/null:/dev/mine:rw", "--generic-resource", "card=1")
    create(manager, "dev", *own, "--constraint", "node.role==manager")
    (task,) = manager.wait_running("dev", 1)
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    assert manager.docker("exec", container, "ls", "/dev/mine") == "/dev/mine"
    assert manager.docker("exec", container, "sh", "-c", "echo $DOCKER_RESOURCE_CARD") == "c1"
    manager.docker("service", "scale", "--detach", "dev=2")
    wait_until(saying(manager, "card: needs 1; m1 has 0 free of 1", "service", "why", "dev"), what="the reason")
    manager.docker("service", "rm", "dev")
