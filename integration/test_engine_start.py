"""Which engine a node takes: found, started, refused, claimed; and images from a registry that wants to know who asks."""

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cluster.aio.clock import SystemClock
from integration.worker_rig import IMAGE, Rig, dockerd, namespace, needs_engine, unmount_below
from node_agent.network.netns import inside
from worker.engine.claim import EngineTaken
from worker.engine.docker import DockerEngine, TalkingToOurselves
from worker.engine.docker_http import DockerLink
from worker.engine.docker_images import Images
from worker.engine.find import EngineConfig, EngineInSwarmMode, open_engine
from worker.engine.launcher import EngineLauncher, EngineMissing
from worker.ports import EngineError, NoSuchImage

pytestmark = [pytest.mark.engine, pytest.mark.root, needs_engine]
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with dockerd("shoal-wk-start", settings={"live-restore": False}) as machine:
        yield machine


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as a socket's path may have 107 bytes only."""
    made = Path(tempfile.mkdtemp(prefix="shoal-st-"))
    yield made
    unmount_below(made)
    shutil.rmtree(made, ignore_errors=True)


def config(folder: Path, **more: object) -> EngineConfig:
    fields: dict[str, object] = {
        "state": folder / "state",
        "runtime": folder / "run",
        "usual_sockets": (str(folder / "none.sock"),),
        "claims": folder / "claims",
        "command": ("no-such-dockerd",),
    }
    return EngineConfig(**(fields | more))  # type: ignore[arg-type]


async def version_of(opened: EngineConfig) -> str:
    async with open_engine(opened, clock=CLOCK, rng=Random(1)) as engine:
        return (await engine.info()).version


async def test_a_running_engine_is_found_at_its_usual_place(rig: Rig, folder: Path) -> None:
    socket = rig.address.removeprefix("unix://")
    assert await version_of(config(folder, usual_sockets=(str(folder / "none.sock"), socket)))


async def test_docker_host_comes_first(rig: Rig, folder: Path) -> None:
    assert await version_of(config(folder, environ={"DOCKER_HOST": rig.address}))


async def test_what_auto_found_it_keeps_as_the_tasks_live_there(rig: Rig, folder: Path) -> None:
    await version_of(config(folder, environ={"DOCKER_HOST": rig.address}))
    assert await version_of(config(folder))  # although nothing points there any more


async def test_our_own_socket_is_not_taken_for_an_engines(rig: Rig, folder: Path) -> None:
    with pytest.raises(EngineMissing):
        await version_of(config(folder, environ={"DOCKER_HOST": rig.address}, own_socket=rig.address.removeprefix("unix://")))


async def test_without_an_engine_it_says_what_to_install(folder: Path) -> None:
    with pytest.raises(EngineMissing, match=r"apt-get install docker\.io"):
        await version_of(config(folder))


async def test_two_daemons_on_one_engine_are_refused(rig: Rig, folder: Path) -> None:
    async with open_engine(config(folder, engine=rig.address), clock=CLOCK, rng=Random(1)):
        with pytest.raises(EngineTaken, match=r"used by another shoald \(process \d+, state .*\)"):
            await version_of(config(folder, engine=rig.address, state=folder / "other"))
    assert await version_of(config(folder, engine=rig.address, state=folder / "other"))  # given back


async def test_an_engine_in_swarm_mode_is_refused_with_the_way_out(rig: Rig, folder: Path) -> None:
    await asyncio.to_thread(rig.docker, "swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        with pytest.raises(EngineInSwarmMode, match="docker swarm leave --force"):
            await version_of(config(folder, engine=rig.address))
    finally:
        await asyncio.to_thread(rig.docker, "swarm", "leave", "--force")


async def test_a_named_engine_that_is_down_is_waited_for(rig: Rig, folder: Path) -> None:
    socket = folder / "late.sock"
    async with open_engine(config(folder, engine=f"unix://{socket}"), clock=CLOCK, rng=Random(1)) as engine:
        with pytest.raises(EngineError, match="does not answer"):
            await engine.info()
        socket.symlink_to(rig.address.removeprefix("unix://"))
        assert (await engine.info()).cpus


async def test_an_address_that_leads_back_to_shoal_is_seen(folder: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"ApiVersion": "1.51", "Components": [{"Name": "Shoal"}]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(folder / "s.sock"))
    engine = DockerEngine(f"unix://{folder}/s.sock", clock=CLOCK)
    try:
        with pytest.raises(TalkingToOurselves, match="unset DOCKER_HOST"):
            await engine.info()
    finally:
        await engine.close()
        server.close()


# -- an engine of our own ----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def netns() -> Iterator[str]:
    with namespace("shoal-wk-own") as path:
        yield path


async def test_an_engine_of_our_own_is_started_found_again_and_started_again_when_it_dies(netns: str, folder: Path) -> None:
    own = config(folder, command=("nsenter", f"--net={netns}", "dockerd"))
    launcher = EngineLauncher(state=own.state, runtime=own.runtime, clock=CLOCK, rng=Random(1), command=own.command)
    try:
        async with open_engine(own, clock=CLOCK, rng=Random(1)) as engine:
            assert (await engine.info()).version
            first = int(launcher.pidfile.read_text())
            assert os.getsid(first) == first  # in its own session: no signal to ours reaches it
        os.kill(first, 0)  # it outlives the daemon
        async with open_engine(own, clock=CLOCK, rng=Random(1)) as engine:
            assert int(launcher.pidfile.read_text()) == first
            os.kill(first, signal.SIGKILL)
            async with asyncio.timeout(30):
                while True:
                    try:
                        assert (await engine.info()).version
                        break
                    except EngineError:
                        await asyncio.sleep(0.1)
            assert int(launcher.pidfile.read_text()) != first
    finally:
        await launcher.stop()


# -- a registry ----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def registry(rig: Rig) -> Iterator[str]:
    """Debian's docker-registry behind a password, in the engine's namespace; holds the image as `REGISTRY/app:1` and nothing else."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (apt-get install docker-registry)")
    bcrypt = pytest.importorskip("bcrypt")
    place = rig.folder / "registry"
    place.mkdir()
    (place / "htpasswd").write_text("user:" + bcrypt.hashpw(b"word", bcrypt.gensalt(4)).decode() + "\n")
    (place / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n"
        f"auth: {{htpasswd: {{realm: r, path: {place}/htpasswd}}}}\nlog: {{level: error}}\n"
    )
    serve = ["nsenter", f"--net={rig.netns}", "docker-registry", "serve", str(place / "config.yml")]
    process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        home = {**os.environ, "HOME": str(place)}
        login = ["docker", "-H", rig.address, "login", "-u", "user", "-p", "word", "127.0.0.1:5000"]
        for _ in range(50):
            if subprocess.run(login, capture_output=True, env=home, check=False).returncode == 0:
                break
        rig.docker("tag", IMAGE, "127.0.0.1:5000/app:1")
        subprocess.run(["docker", "-H", rig.address, "push", "127.0.0.1:5000/app:1"], check=True, capture_output=True, env=home)
        yield "127.0.0.1:5000"
    finally:
        process.terminate()
        process.wait()


def credentials(password: str, server: str) -> str:
    fields = {"username": "user", "password": password, "serveraddress": server}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


async def test_a_private_image_is_pulled_with_the_credentials_of_its_service(rig: Rig, registry: str) -> None:
    image = f"{registry}/app:1"
    await asyncio.to_thread(rig.docker, "rmi", image)
    engine = DockerEngine(rig.address, clock=CLOCK)
    try:
        with pytest.raises(NoSuchImage, match=f"No such image: {image}: .*no basic auth credentials"):
            await engine.pull(image, registry_auth="")
        with pytest.raises(NoSuchImage, match="unauthorized"):
            await engine.pull(image, registry_auth=credentials("wrong", registry))
        await engine.pull(image, registry_auth=credentials("word", registry))
        await engine.pull(image, registry_auth="")  # it is here now: who may not ask the registry may still run it
    finally:
        await engine.close()


async def test_a_registry_that_never_answers_keeps_no_image_that_is_here_from_running(rig: Rig) -> None:
    with inside(rig.netns):
        silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        image = f"127.0.0.1:{silent.getsockname()[1]}/app:1"
        await asyncio.to_thread(rig.docker, "tag", IMAGE, image)
        link = DockerLink(rig.address)
        try:
            images = Images(link, CLOCK, patience=0.5)
            await images.ensure(image, registry_auth="")
            assert images.unreachable() == {image}
        finally:
            await link.close()


async def test_tasks_that_want_the_same_image_share_one_pull(rig: Rig, registry: str) -> None:
    image = f"{registry}/app:1"
    await asyncio.to_thread(rig.docker, "rmi", "-f", image)
    engine = DockerEngine(rig.address, clock=CLOCK)
    since = rig.docker("info", "-f", "{{.SystemTime}}")
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(engine.pull(image, registry_auth=credentials("word", registry)))
        until = rig.docker("info", "-f", "{{.SystemTime}}")
        events = rig.docker("events", "--since", since, "--until", until, "--filter", "event=pull", "--format", "{{.ID}}")
        assert events.splitlines() == [image]
    finally:
        await engine.close()
