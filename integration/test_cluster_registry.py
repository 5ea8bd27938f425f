"""A service whose image is in a private registry: its credentials travel with it to the node that pulls, and without them it says why.

The registry is Debian's docker-registry behind a password. An engine trusts one without TLS on its own loopback only, so two nodes
each run one, over the same folder.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from integration.cluster_rig import Cluster, Daemon, run, wait_until
from integration.netlab import end

bcrypt = pytest.importorskip("bcrypt")
pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
REGISTRY = "127.0.0.1:5000"
PRIVATE = f"{REGISTRY}/app:1"
ON_W1 = ("--detach", "--stop-grace-period", "0s", "--restart-delay", "200ms", "--constraint", "node.hostname==w1")


@pytest.fixture(scope="module")
def home(cluster: Cluster) -> Iterator[Path]:
    """A client's folder, logged in at the registry, which holds `PRIVATE`."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (apt-get install docker-registry)")
    place = Path(tempfile.mkdtemp(prefix="shoal-registry-"))
    (place / "htpasswd").write_text("user:" + bcrypt.hashpw(b"word", bcrypt.gensalt(4)).decode() + "\n")
    (place / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\nhttp: {{addr: '{REGISTRY}'}}\n"
        f"auth: {{htpasswd: {{realm: r, path: {place}/htpasswd}}}}\nlog: {{level: error}}\n"
    )
    manager = cluster.daemons["m1"]
    serve = ("docker-registry", "serve", str(place / "config.yml"))
    registries = [cluster.daemons[name].host.start(*serve, log=place / "log") for name in ("m1", "w1")]
    try:
        wait_until(
            lambda: "Succeeded" in with_config(manager, place, "login", "-u", "user", "-p", "word", REGISTRY), what="the login works"
        )
        manager.docker("tag", "shoal-lab", PRIVATE)
        with_config(manager, place, "push", PRIVATE)
        manager.docker("rmi", PRIVATE)
        yield place
    finally:
        for registry in registries:
            end(registry)
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(autouse=True)
def clean(home: Path, cluster: Cluster) -> Iterator[None]:
    yield
    manager, worker = cluster.daemons["m1"], cluster.daemons["w1"]
    if services := manager.docker("service", "ls", "-q").split():
        manager.docker("service", "rm", *services)
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    for image in worker.docker("images", "-q", "--filter", f"reference={REGISTRY}/app").split():
        worker.engine("rmi", "-f", image)
    worker.engine("image", "prune", "-f")


def with_config(daemon: Daemon, folder: Path, *words: str) -> str:
    """The stock CLI with a folder of credentials of its own."""
    return run(("docker", "--config", str(folder), "-H", daemon.url, *words), env={**os.environ, "DOCKER_CONFIG": str(folder)})


def rejected(manager: Daemon, service: str) -> str:
    """Why its task was, once it was."""

    def rows() -> list[str]:
        shown = manager.docker("service", "ps", "--no-trunc", "--format", "{{.CurrentState}}|{{.Error}}", service).splitlines()
        return [row for row in shown if row.startswith("Rejected")]

    listed = wait_until(rows, what=f"a task of {service} is rejected")
    return str(listed[0])


def test_the_credentials_of_who_created_it_pull_the_image(cluster: Cluster, manager: Daemon, home: Path) -> None:
    with_config(manager, home, "service", "create", "--with-registry-auth", "--name", "app", *ON_W1, PRIVATE, "sleep", "1000")
    (task,) = manager.wait_running("app", 1)
    image = task["Spec"]["ContainerSpec"]["Image"]
    assert image.startswith(f"{PRIVATE}@sha256:"), "the tag was resolved with the same credentials"
    inspected = manager.docker("service", "inspect", "app")
    assert "word" not in inspected
    assert "auth" not in inspected.lower()
    for daemon in cluster.daemons.values():
        seen = subprocess.run(("grep", "-rlF", "dXNlcjp3b3Jk", str(daemon.folder / "data" / "swarm")), capture_output=True, check=False)
        assert seen.stdout == b"", "credentials lie on a disk in the clear"


def test_without_credentials_it_is_rejected_and_says_why_until_it_is_given_some(manager: Daemon, home: Path, tmp_path: Path) -> None:
    with_config(manager, tmp_path, "service", "create", "--name", "app", *ON_W1, PRIVATE, "sleep", "1000")
    said = rejected(manager, "app")
    assert f"No such image: {PRIVATE}" in said
    assert "no basic auth credentials" in said
    assert "(on node w1)" in said
    with_config(manager, home, "service", "update", "--with-registry-auth", "--detach", "--force", "app")
    manager.wait_running("app", 1)


def test_wrong_credentials_are_said_to_be_wrong(manager: Daemon, home: Path) -> None:
    client = docker.DockerClient(base_url=manager.url)
    try:
        client.api._auth_configs.add_auth(REGISTRY, {"username": "user", "password": "zig", "serveraddress": REGISTRY})
        client.services.create(PRIVATE, ["sleep", "1000"], name="app", constraints=["node.hostname==w1"])
    finally:
        client.close()
    assert "unauthorized" in rejected(manager, "app")


def test_docker_py_sends_the_credentials_it_logged_in_with(manager: Daemon, home: Path) -> None:
    client = docker.DockerClient(base_url=manager.url)
    try:
        client.login("user", "word", registry=REGISTRY)
        service = client.services.create(PRIVATE, ["sleep", "1000"], name="app", constraints=["node.hostname==w1"], stop_grace_period=0)
        manager.wait_running("app", 1)
        assert service.remove()
    finally:
        client.close()


def test_our_own_command_line_sends_them_too(manager: Daemon, home: Path) -> None:
    manager.shoal("--config", str(home), "service", "create", "--with-registry-auth", "--name", "app", *ON_W1, PRIVATE, "sleep", "1000")
    manager.wait_running("app", 1)


def test_a_stack_is_deployed_with_credentials(manager: Daemon, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    placement = "{placement: {constraints: [node.hostname==w1]}}"
    file.write_text(
        f"services:\n  app:\n    image: {PRIVATE}\n    command: sleep 1000\n    stop_grace_period: 0s\n    deploy: {placement}\n"
    )
    with_config(manager, home, "stack", "deploy", "--detach=true", "--with-registry-auth", "-c", str(file), "shop")
    manager.wait_running("shop_app", 1)
    manager.docker("stack", "rm", "shop")
