"""docker-py's high-level client drives a real cluster: the whole of its swarm surface, as scripts and Ansible use it."""

import io
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.types import (
    ConfigReference,
    EndpointSpec,
    Healthcheck,
    Mount,
    Resources,
    RestartPolicy,
    RollbackConfig,
    SecretReference,
    ServiceMode,
    UpdateConfig,
)

from integration.cluster_rig import Cluster, Daemon, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # docker-py leaves the sockets of streams to the collector
]
IMAGE = "shoal-lab:latest"
FOREVER = ["sleep", "1000"]
SECOND = 1_000_000_000
NOW = {"stop_grace_period": 0}


@pytest.fixture
def client(manager: Daemon) -> Iterator[docker.DockerClient]:
    """On a manager; what the test made of the swarm's objects is gone afterwards."""
    made = docker.DockerClient(base_url=manager.url)
    yield made
    for service in made.services.list():
        service.remove()
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    for nouns in (made.secrets, made.configs):
        for one in nouns.list():
            one.remove()
    for network in made.networks.list(filters={"driver": "overlay"}):
        if network.name != "ingress":
            network.remove()
    made.close()


def running(service: Any, count: int) -> list[dict[str, Any]]:
    def enough() -> list[dict[str, Any]] | None:
        found = [task for task in service.tasks({"desired-state": "running"}) if task["Status"]["State"] == "running"]
        return found if len(found) == count else None

    found: list[dict[str, Any]] = wait_until(enough, what=f"{count} tasks of {service.name} run", seconds=60)
    return found


# -- the swarm and its nodes -------------------------------------------------------------------------------------------------------------
def test_the_swarm_tells_of_itself(client: docker.DockerClient) -> None:
    assert client.ping()
    client.swarm.reload()
    assert client.swarm.attrs["Spec"]["Name"] == "default"
    assert client.swarm.version > 0
    assert set(client.swarm.attrs["JoinTokens"]) == {"Worker", "Manager"}
    info = client.info()["Swarm"]
    assert (info["LocalNodeState"], info["ControlAvailable"], info["Nodes"], info["Managers"]) == ("active", True, 5, 3)
    assert any(part["Name"] == "Shoal" for part in client.version()["Components"])
    assert client.api.get_unlock_key()["UnlockKey"] == ""


def test_the_swarm_is_updated_and_its_tokens_are_rotated(client: docker.DockerClient) -> None:
    client.swarm.reload()
    before = client.swarm.attrs
    assert client.swarm.update(task_history_retention_limit=3, rotate_worker_token=True)
    client.swarm.reload()
    assert client.swarm.attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 3
    assert client.swarm.attrs["JoinTokens"]["Worker"] != before["JoinTokens"]["Worker"]
    assert client.swarm.attrs["JoinTokens"]["Manager"] == before["JoinTokens"]["Manager"]
    client.swarm.update(task_history_retention_limit=5)
    with pytest.raises(APIError, match="already part of a swarm"):
        client.swarm.init(advertise_addr="eth0")
    with pytest.raises(APIError, match="participating as a manager"):
        client.swarm.leave()


def test_nodes_are_listed_filtered_and_labelled(client: docker.DockerClient) -> None:
    nodes = {node.attrs["Description"]["Hostname"]: node for node in client.nodes.list()}
    assert set(nodes) == {"m1", "m2", "m3", "w1", "w2"}
    assert len(client.nodes.list(filters={"role": "worker"})) == 2
    assert [node.id for node in client.nodes.list(filters={"name": "w1"})] == [nodes["w1"].id]
    with pytest.raises(APIError, match="Invalid role filter"):
        client.nodes.list(filters={"role": "zig"})
    node = client.nodes.get(nodes["w1"].id[:12])
    assert node.version == node.attrs["Version"]["Index"]
    spec = node.attrs["Spec"]
    assert node.update({**spec, "Labels": {"disk": "ssd"}})
    node.reload()
    assert node.attrs["Spec"]["Labels"] == {"disk": "ssd"}
    assert [one.id for one in client.nodes.list(filters={"node.label": "disk=ssd"})] == [node.id]
    stale = client.nodes.get(node.id)
    node.update({**spec, "Labels": {}})
    with pytest.raises(APIError, match="update out of sequence") as refused:
        stale.update(spec)
    assert refused.value.status_code == 500
    with pytest.raises(NotFound):
        client.nodes.get("no-such-node")


# -- services ------------------------------------------------------------------------------------------------------------------------------
def test_a_service_with_every_option_keeps_them_all_and_runs(client: docker.DockerClient) -> None:
    secret = client.secrets.create(name="password", data=b"hunter2", labels={"a": "b"})
    config = client.configs.create(name="page", data=b"hello", labels={"a": "b"})
    client.networks.create("front", driver="overlay", attachable=True, labels={"a": "b"})
    service = client.services.create(
        IMAGE,
        command=["sh", "-c"],
        args=["cat /run/secrets/pw /page; echo; exec sleep 1000"],
        name="web",
        constraints=["node.role==worker"],
        preferences=[("spread", "node.labels.zone")],
        maxreplicas=2,
        container_labels={"inner": "1"},
        labels={"outer": "1"},
        endpoint_spec=EndpointSpec(mode="vip", ports={8301: (80, "tcp", "ingress"), 8302: (81, "udp")}),
        env=["COLOUR=blue"],
        hostname="{{.Service.Name}}-{{.Task.Slot}}",
        init=False,
        log_driver="json-file",
        log_driver_options={"max-size": "1m"},
        mode=ServiceMode("replicated", replicas=2),
        mounts=[Mount(target="/scratch", source=None, type="tmpfs"), "data:/data:rw"],
        networks=["front"],
        resources=Resources(cpu_limit=500_000_000, mem_limit=64 << 20, cpu_reservation=10_000_000, mem_reservation=8 << 20),
        restart_policy=RestartPolicy(condition="on-failure", delay=1, max_attempts=3, window=5),
        secrets=[SecretReference(secret.id, "password", filename="pw", uid="3", gid="4", mode=0o400)],
        configs=[ConfigReference(config.id, "page", filename="/page")],
        stop_grace_period=0,
        update_config=UpdateConfig(
            parallelism=1, delay=0, failure_action="pause", monitor=SECOND, max_failure_ratio=0.5, order="start-first"
        ),
        rollback_config=RollbackConfig(parallelism=0, order="stop-first"),
        user="0",
        workdir="/",
        tty=False,
        groups=["7"],
        healthcheck=Healthcheck(test=["CMD", "true"], interval=SECOND, timeout=SECOND, retries=3),
        hosts={"else.where": "10.11.12.13"},
        dns_config=None,
        read_only=False,
        stop_signal="SIGKILL",
        cap_drop=["NET_RAW"],
        sysctls={"net.ipv4.ip_unprivileged_port_start": "100"},
    )
    tasks = running(service, 2)
    service.reload()
    spec = service.attrs["Spec"]
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert (spec["Labels"], container["Labels"]) == ({"outer": "1"}, {"inner": "1"})
    assert spec["TaskTemplate"]["Placement"]["Constraints"] == ["node.role==worker"]
    assert spec["TaskTemplate"]["Placement"]["MaxReplicas"] == 2
    assert spec["TaskTemplate"]["LogDriver"] == {"Name": "json-file", "Options": {"max-size": "1m"}}
    assert spec["TaskTemplate"]["RestartPolicy"]["Condition"] == "on-failure"
    assert spec["UpdateConfig"]["Order"] == "start-first"
    assert container["Hosts"] == ["10.11.12.13 else.where"]
    assert sorted(port["PublishedPort"] for port in service.attrs["Endpoint"]["Ports"]) == [8301, 8302]
    assert service.attrs["Endpoint"]["VirtualIPs"][0]["Addr"]
    assert {task["Spec"]["ContainerSpec"]["Env"][0] for task in tasks} == {"COLOUR=blue"}
    lines = wait_until(lambda: b"".join(service.logs(stdout=True)).count(b"hunter2hello") == 2, what="both tasks say what they found")
    assert lines


def test_services_are_listed_by_name_label_mode_and_id(client: docker.DockerClient) -> None:
    web = client.services.create(IMAGE, command=FOREVER, name="web", labels={"team": "a"}, **NOW)
    agent = client.services.create(IMAGE, command=FOREVER, name="agent", mode="global", **NOW)
    running(agent, 5)
    assert [one.name for one in client.services.list(filters={"name": "web"})] == ["web"]
    assert [one.name for one in client.services.list(filters={"label": "team=a"})] == ["web"]
    assert [one.name for one in client.services.list(filters={"mode": "global"})] == ["agent"]
    assert [one.id for one in client.services.list(filters={"id": web.id})] == [web.id]
    (row,) = client.services.list(filters={"name": "agent"}, status=True)
    assert row.attrs["ServiceStatus"] == {"RunningTasks": 5, "DesiredTasks": 5, "CompletedTasks": 0}
    assert client.services.get("web").id == client.services.get(web.id[:10]).id == web.id
    with pytest.raises(NotFound, match="service zig not found"):
        client.services.get("zig")
    with pytest.raises(APIError, match="already exists") as refused:
        client.services.create(IMAGE, command=FOREVER, name="web")
    assert refused.value.status_code == 409


def test_a_service_without_a_name_gets_one(client: docker.DockerClient) -> None:
    service = client.services.create(IMAGE, command=FOREVER, **NOW)
    service.reload()
    assert service.name


def test_scaling_updating_forcing_and_removing(client: docker.DockerClient) -> None:
    service = client.services.create(
        IMAGE, command=FOREVER, name="web", update_config=UpdateConfig(parallelism=0, monitor=SECOND // 10), labels={"keep": "me"}, **NOW
    )
    first = running(service, 1)
    assert service.scale(3)
    three = {task["ID"] for task in running(service, 3)}
    assert first[0]["ID"] in three
    service.reload()
    assert service.update(env=["COLOUR=blue"])
    assert {task["Spec"]["ContainerSpec"]["Env"][0] for task in wait_new(service, three, 3)} == {"COLOUR=blue"}
    service.reload()
    assert service.attrs["Spec"]["Labels"] == {"keep": "me"}, "what an update does not mention stays"
    assert service.attrs["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}
    assert service.attrs["PreviousSpec"]
    before = {task["ID"] for task in running(service, 3)}
    assert service.force_update()
    wait_new(service, before, 3)
    service.reload()
    stale = client.services.get("web")
    assert service.scale(1)
    with pytest.raises(APIError, match="update out of sequence"):
        stale.scale(2)
    assert service.remove()
    with pytest.raises(NotFound):
        service.reload()


def wait_new(service: Any, old: set[str], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wait_until(
        lambda: [task for task in running(service, count) if task["ID"] not in old][count - 1 :] and running(service, count),
        what=f"{count} new tasks run",
    )
    return found


def test_tasks_are_filtered(client: docker.DockerClient) -> None:
    service = client.services.create(IMAGE, command=FOREVER, name="web", constraints=["node.hostname==w1"], **NOW)
    (task,) = running(service, 1)
    assert [one["ID"] for one in service.tasks({"node": "w1"})] == [task["ID"]]
    assert service.tasks({"node": "w2"}) == []
    assert [one["ID"] for one in service.tasks({"id": task["ID"]})] == [task["ID"]]
    assert client.api.inspect_task(task["ID"])["ServiceID"] == service.id
    with pytest.raises(APIError, match="Invalid desired-state filter"):
        service.tasks({"desired-state": "zig"})


def test_logs_come_whole_by_stream_and_followed(client: docker.DockerClient) -> None:
    script = "i=0; while [ $i -lt 5 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; exec sleep 1000"
    service = client.services.create(IMAGE, command=["sh", "-c", script], name="talk", **NOW)
    running(service, 1)
    out = [f"out {number}\n".encode() for number in range(5)]
    assert list(service.logs(stdout=True)) == out
    assert list(service.logs(stderr=True)) == [line.replace(b"out", b"err") for line in out]
    assert len(b"".join(service.logs(stdout=True, stderr=True, tail=2)).splitlines()) == 2
    assert b"".join(service.logs(stdout=True, timestamps=True)).count(b"Z out") == 5
    assert b"com.docker.swarm.task.id=" in b"".join(service.logs(stdout=True, details=True))
    followed = service.logs(stdout=True, follow=True)
    assert [next(followed) for _ in range(5)] == out


# -- secrets, configs, networks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["secret", "config"])
def test_secrets_and_configs_come_and_go(client: docker.DockerClient, kind: str) -> None:
    nouns = client.secrets if kind == "secret" else client.configs
    made = nouns.create(name="one", data=b"\x00binary\xff", labels={"a": "b"})
    assert [one.id for one in nouns.list(filters={"name": "one"})] == [made.id]
    assert [one.id for one in nouns.list(filters={"label": "a=b"})] == [made.id]
    got = nouns.get(made.id)
    assert got.name == "one"
    assert ("Data" in got.attrs["Spec"]) == (kind == "config"), "a secret is never shown again"
    with pytest.raises(APIError, match="already exists"):
        nouns.create(name="one", data=b"other")
    assert made.remove()
    with pytest.raises(NotFound):
        nouns.get(made.id)


def test_networks_are_one_list_of_two_worlds(client: docker.DockerClient) -> None:
    overlay = client.networks.create("front", driver="overlay", attachable=True, internal=False, labels={"a": "b"})
    bridge = client.networks.create("local", driver="bridge")
    try:
        assert (overlay.attrs["Scope"], overlay.attrs["Attachable"]) == ("swarm", True)
        assert {"front", "local", "ingress", "bridge", "host", "none"} <= {one.name for one in client.networks.list()}
        assert [one.name for one in client.networks.list(names=["front"])] == ["front"]
        assert [one.name for one in client.networks.list(filters={"label": "a=b"})] == ["front"]
        container = client.containers.run(IMAGE, FOREVER, detach=True, network="front", name="guest")
        try:
            container.reload()
            assert "front" in container.attrs["NetworkSettings"]["Networks"]
            status, said = container.exec_run(["ip", "addr"])
            assert status == 0
            assert b"10.0." in said
        finally:
            container.remove(force=True)
    finally:
        bridge.remove()
        overlay.remove()
    with pytest.raises(NotFound):
        client.networks.get("front")


# -- events, and the engine's own ------------------------------------------------------------------------------------------------------
def test_events_of_services_are_told_as_they_happen(client: docker.DockerClient, manager: Daemon) -> None:
    told: list[dict[str, Any]] = []
    other = docker.DockerClient(base_url=manager.url)
    stream = other.events(decode=True, filters={"type": ["service", "secret"]})
    listening = threading.Thread(target=lambda: told.extend(stream))
    listening.start()
    service = client.services.create(IMAGE, command=FOREVER, name="web", **NOW)
    running(service, 1)
    service.scale(2)
    client.secrets.create(name="one", data=b"a").remove()
    service.remove()
    wait_until(lambda: len(told) >= 5, what="five events are told")
    stream.close()
    listening.join(10)
    other.close()
    seen = [(event["Type"], event["Action"], event["Actor"]["Attributes"]["name"]) for event in told]
    assert seen[0] == ("service", "create", "web")
    assert seen[-1] == ("service", "remove", "web")
    assert ("secret", "create", "one") in seen
    assert ("secret", "remove", "one") in seen
    assert {event["scope"] for event in told} == {"swarm"}


def test_containers_images_and_volumes_are_the_engines(client: docker.DockerClient) -> None:
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    volume = client.volumes.create("box")
    container = client.containers.create(IMAGE, FOREVER, volumes={"box": {"bind": "/box"}})
    try:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("word")
            entry.size = 2
            tar.addfile(entry, io.BytesIO(b"hi"))
        assert container.put_archive("/box", archive.getvalue())
        container.start()
        assert container.exec_run(["cat", "/box/word"]).output == b"hi"
        assert container.stats(stream=False)["memory_stats"]
        assert container.id in {one.id for one in client.containers.list()}
    finally:
        container.remove(force=True)
        volume.remove()
    assert any(IMAGE in image.tags for image in client.images.list())
    assert client.df()["Images"]


def test_a_worker_says_that_it_is_no_manager(cluster: Cluster) -> None:
    client = docker.DockerClient(base_url=cluster.daemons["w1"].url)
    try:
        assert client.info()["Swarm"]["ControlAvailable"] is False
        with pytest.raises(APIError, match="This node is not a swarm manager") as refused:
            client.services.list()
        assert refused.value.status_code == 503
    finally:
        client.close()
