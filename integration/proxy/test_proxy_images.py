"""Every `docker image` subcommand, volumes, networks, system and a private registry, by the stock CLI through the proxy."""

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from integration.proxy.conftest import CLIS, Docker, Dockerd, Front, wait_until

pytestmark = [pytest.mark.root, pytest.mark.engine]

LEGACY = {"DOCKER_BUILDKIT": "0"}  # the client's own builder needs a plugin that is not part of it


@pytest.fixture
def built(docker: Docker, tmp_path: Path) -> str:
    """An image with two layers of its own, built from a context of three megabytes."""
    (tmp_path / "Dockerfile").write_text("FROM bb\nARG WORD\nCOPY large /large\nRUN echo $WORD > /word\nCMD cat /word\n")
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    said = Docker(docker.cli, docker.socket, LEGACY)("build", "--build-arg", "WORD=built", "-t", "built:1", str(tmp_path))
    assert "Successfully tagged built:1" in said
    return "built:1"


def test_an_image_is_built_run_shown_and_removed(docker: Docker, built: str) -> None:
    assert docker("run", "--rm", built) == "built"
    assert docker("history", "-q", built)
    assert json.loads(docker("image", "inspect", built))[0]["RepoTags"] == [built]
    assert built in docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    docker("tag", built, "built:2")
    assert "built:2" in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=built:*")
    docker("rmi", "built:2")
    assert "Deleted" in docker("image", "rm", built)


def test_an_image_is_saved_and_loaded(docker: Docker, built: str) -> None:
    archive = docker.raw("save", built)
    docker("rmi", "-f", built)
    assert "Loaded image: built:1" in docker("load", stdin=archive)
    assert docker("run", "--rm", built) == "built"
    docker("rmi", built)


def test_a_file_system_is_imported(docker: Docker) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    docker("import", "-m", "a word", "-", "imported:1", stdin=archive.getvalue())
    assert "a word" in docker("history", "--no-trunc", "imported:1")
    docker("rmi", "imported:1")


def test_unused_images_are_pruned(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM bb\nLABEL dangling=1\n")
    Docker(docker.cli, docker.socket, LEGACY)("build", "-q", str(tmp_path))
    assert docker("images", "-q", "--filter", "dangling=true", "--filter", "label=dangling=1")
    assert "sha256:" in docker("image", "prune", "-f")
    assert not docker("images", "-q", "--filter", "dangling=true", "--filter", "label=dangling=1")


def test_a_large_body_passes_without_being_held(newest: Docker, direct: Docker, front: Front, tmp_path: Path) -> None:
    """256 MB down and up; held, they would show."""
    container, other = newest("run", "-d", "bb", "sleep", "100"), newest("create", "bb", "true")
    newest("exec", container, "dd", "if=/dev/zero", "of=/large", "bs=1", "count=0", "seek=256M")
    before = front.rss
    with (
        newest.beside("cp", f"{container}:/large", "-") as download,
        newest.beside("cp", "-", f"{other}:/tmp", stdin=download.stdout) as upload,
    ):
        assert upload.wait(60) == 0
    newest("cp", f"{other}:/tmp/large", str(tmp_path / "large"))
    assert (tmp_path / "large").stat().st_size == 256 * 1024 * 1024
    assert front.rss - before < 10 * 1024 * 1024
    direct("rm", "-f", container, other)


def test_volumes_are_made_shown_and_removed(docker: Docker) -> None:
    docker("volume", "create", "--label", "a=b", "vol")
    assert json.loads(docker("volume", "inspect", "vol"))[0]["Labels"] == {"a": "b"}
    assert docker("volume", "ls", "-q", "--filter", "label=a=b") == "vol"
    assert docker("run", "--rm", "-v", "vol:/v", "bb", "sh", "-c", "echo kept > /v/f") == ""
    assert docker("run", "--rm", "-v", "vol:/v", "bb", "cat", "/v/f") == "kept"
    docker("volume", "rm", "vol")


def test_volume_prune_keeps_what_has_a_name_unless_asked_for_all(docker: Docker, direct: Docker) -> None:
    """The engine's own version of this would delete the named one: the client that speaks 1.42 or newer means anonymous ones."""
    docker("volume", "create", "named")
    anonymous = docker("volume", "create")
    pruned = docker("volume", "prune", "-f")
    assert anonymous in pruned
    if docker.speaks_142:
        assert direct("volume", "ls", "-q") == "named"
        assert "named" in docker("volume", "prune", "-f", "--all")
    assert direct("volume", "ls", "-q") == ""


def test_networks_are_made_joined_left_and_pruned(docker: Docker, direct: Docker, container: str) -> None:
    docker("network", "create", "--subnet", "10.123.0.0/24", "net")
    docker("network", "connect", "--ip", "10.123.0.9", "--alias", "other", "net", container)
    shown = json.loads(docker("network", "inspect", "net"))[0]
    assert shown["Containers"][container]["IPv4Address"] == "10.123.0.9/24"
    docker("network", "disconnect", "net", container)
    docker("network", "rm", "net")
    docker("network", "create", "unused")
    direct("network", "create", "--label", "shoal.network=n1", "shoal-0123456789ab")
    assert "shoal-" not in docker("network", "ls")
    assert docker("network", "prune", "-f").split() == ["Deleted", "Networks:", "unused"]
    docker("network", "create", "unused")
    assert docker("network", "prune", "-f", "--filter", "label!=x").split() == ["Deleted", "Networks:", "unused"]
    assert "shoal-0123456789ab" in direct("network", "ls")
    direct("network", "rm", "shoal-0123456789ab")


def test_system_commands_tell_of_both_worlds(docker: Docker) -> None:
    assert "Local Volumes" in docker("system", "df")
    assert docker("system", "df", "-v")
    version = json.loads(docker("version", "--format", "{{json .Server}}"))
    assert version["Version"].startswith("20.10")
    assert version["ApiVersion"] == "1.51"
    assert "Shoal" in [part["Name"] for part in version["Components"]]
    info = json.loads(docker("info", "--format", "{{json .}}"))
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert "WARNING: this node is not in a swarm" in info["Warnings"]


@pytest.fixture(scope="session")
def registry(engine: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private registry where the engine is: user u, password p."""
    if shutil.which("docker-registry") is None:
        pytest.skip("push and pull are tried on a private registry: install docker-registry")
    home = tmp_path_factory.mktemp("registry")
    (home / "htpasswd").write_text("u:" + bcrypt.hashpw(b"p", bcrypt.gensalt(5)).decode() + "\n")
    (home / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {home}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:5000'}}\nauth: {{htpasswd: {{realm: r, path: {home}/htpasswd}}}}\n"
    )
    inside = ["nsenter", f"--net=/run/netns/{engine.namespace}"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([*inside, "docker-registry", "serve", str(home / "config.yml")], stdout=log, stderr=log)
    try:
        listening = [*inside, "ss", "-ltnH", "sport", "=", ":5000"]
        wait_until(lambda: b":5000" in subprocess.run(listening, capture_output=True, check=True).stdout, "the registry listens")
        yield "127.0.0.1:5000"
    finally:
        process.terminate()
        process.wait()


def test_credentials_reach_a_private_registry(docker: Docker, registry: str, tmp_path: Path) -> None:
    docker = Docker(docker.cli, docker.socket, {"DOCKER_CONFIG": str(tmp_path)})
    image = f"{registry}/pushed:1"
    docker("tag", "bb", image)
    assert "no basic auth credentials" in docker.refused("push", image)
    assert "401 Unauthorized" in docker.refused("login", "-u", "u", "-p", "wrong", registry)
    assert "Login Succeeded" in docker("login", "-u", "u", "--password-stdin", registry, stdin=b"p")
    assert "digest: sha256:" in docker("push", image)
    docker("rmi", image)
    assert "Downloaded newer image" in docker("pull", image) or "Image is up to date" in docker("pull", image)
    assert docker("run", "--rm", image, "echo", "pulled") == "pulled"
    docker("rmi", image)
    docker("logout", registry)
    assert "no basic auth credentials" in docker.refused("pull", image)


def test_buildkit_builds_through_its_session(front: Front, direct: Docker, tmp_path: Path) -> None:
    """The older CLI has BuildKit's client in it: files go over /session, the build waits for them."""
    (tmp_path / "Dockerfile").write_text("FROM bb\nCOPY word /word\nRUN cat /word > /copy\n")
    (tmp_path / "word").write_text("by session")
    kit = Docker(CLIS["cli20"], front.socket, {"DOCKER_BUILDKIT": "1"})
    kit("build", "--no-cache", "-t", "kit", str(tmp_path))
    assert kit("run", "--rm", "kit", "cat", "/copy") == "by session"
    direct("rmi", "kit")


def test_builds_of_a_newer_kind_reach_the_engines_session(front: Front) -> None:
    """BuildKit's /session and /grpc leave HTTP/1.1 for h2c: what follows is the engine's HTTP/2."""
    for path, more in (("/session", "X-Docker-Expose-Session-Uuid: abc\r\nX-Docker-Expose-Session-Name: n\r\n"), ("/grpc", "")):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(front.socket)
            client.settimeout(10)
            client.sendall(f"POST /v1.50{path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{more}\r\n".encode())
            if path == "/grpc":
                client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2]:
                answer += client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"h2c" in answer
