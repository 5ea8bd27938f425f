"""A real dockerd keeps the promises of the engine port, and what only a real one can show."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from cluster.aio.clock import SystemClock
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    HealthConfig,
    Limits,
    Mount,
    PortConfig,
    Resources,
    TmpfsOptions,
    Ulimit,
)
from integration.worker_rig import IMAGE, Rig, dockerd, needs_engine
from tests.ports.engine_promises import LABELS, EnginePromises, read, state_of, wait_down
from worker.engine.docker import DockerEngine
from worker.engine.docker_create import Unsupported
from worker.engine.memory import Behaviour
from worker.plan import TASK_LABEL
from worker.ports import ContainerPlan, EngineError, EngineGone, EngineNetwork, SandboxPlan

pytestmark = [pytest.mark.engine, pytest.mark.root, needs_engine]


class DockerRig:
    image = IMAGE

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.engine = DockerEngine(rig.address, clock=SystemClock())

    def doing(self, behaviour: Behaviour) -> ContainerSpec:
        if behaviour.start_error:
            return ContainerSpec(image=IMAGE, args=("nosuch",))
        script = "trap '' TERM; " if behaviour.ignores_term else "trap 'exit 143' TERM; "
        script += "".join(f"echo {line.decode().strip()}; " for line in behaviour.says)
        script += "while :; do sleep 0.1; done" if behaviour.exits_with is None else f"exit {behaviour.exits_with}"
        return ContainerSpec(image=IMAGE, args=("sh", "-c", script))

    async def restart_from_outside(self, container_id: str) -> None:
        await asyncio.to_thread(self.rig.docker, "restart", "-t", "0", container_id)


@pytest.fixture(scope="module")
def machine() -> Iterator[Rig]:
    with dockerd("shoal-wk-engine") as rig:
        yield rig


@pytest.fixture
async def rig(machine: Rig) -> AsyncIterator[DockerRig]:
    docker = DockerRig(machine)
    try:
        yield docker
        for state in await docker.engine.list(LABELS):
            await docker.engine.remove(state.id)
    finally:
        await docker.engine.close()


class TestDockerd(EnginePromises):
    """The same suite as the twin's."""


async def run(rig: DockerRig, script: str, *, wait: bool = True, **more: object) -> tuple[str, list[bytes]]:
    """Run a script to its end; its container and what it printed."""
    fields: dict[str, object] = {"spec": ContainerSpec(image=IMAGE, args=("sh", "-c", script))} | more
    plan = ContainerPlan(name="web.1.x1", labels={**LABELS, TASK_LABEL: "x1"}, **fields)  # type: ignore[arg-type]
    container_id = await rig.engine.create(plan)
    await rig.engine.start(container_id)
    if wait:
        await wait_down(rig, container_id)
    return container_id, [line.line for line in await read(rig, container_id)]


def shell(script: str, **more: object) -> ContainerSpec:
    return ContainerSpec(image=IMAGE, args=("sh", "-c", script), **more)  # type: ignore[arg-type]


# -- what only a real engine can show ------------------------------------------------------------------------------------------------------
async def test_a_container_over_its_memory_limit_is_seen_to_be_out_of_memory(rig: DockerRig) -> None:
    limits = Resources(limits=Limits(memory_bytes=16 << 20))
    container_id, _ = await run(rig, "dd if=/dev/zero of=/dev/null bs=64M count=1", resources=limits)
    state = await state_of(rig, container_id)
    assert (state.oom_killed, state.exit_code) == (True, 137)


async def test_health_comes_from_the_engine_with_what_the_probe_said(rig: DockerRig) -> None:
    check = HealthConfig(test=("CMD-SHELL", "echo no answer; exit 1"), interval=SECOND // 2, retries=1, timeout=SECOND * 5)
    container_id, _ = await run(rig, "", spec=shell("sleep 60", healthcheck=check), wait=False)
    assert (await state_of(rig, container_id)).health == "starting"
    async with asyncio.timeout(20), aclosing(rig.engine.events()) as events:
        async for event in events:
            if event.kind == "health_status" or (await state_of(rig, container_id)).health == "unhealthy":
                break
    state = await state_of(rig, container_id)
    assert (state.health, state.health_log.strip()) == ("unhealthy", "no answer")


async def test_the_spec_arrives_in_the_container(rig: DockerRig) -> None:
    spec = shell(
        "id -u; id -G; hostname; echo $A; pwd; ulimit -n; cat /proc/sys/net/core/somaxconn; test -w / || echo sealed; "
        "stat -c %a /t; grep NoNewPrivs /proc/self/status; cat /etc/hosts | grep db",
        env=("A=b c",),
        dir="/tmp",
        user="1000",
        groups=("7",),
        read_only=True,
        init=True,
        ulimits=(Ulimit(name="nofile", soft=100, hard=200),),
        sysctls={"net.core.somaxconn": "99"},
        mounts=(Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=1 << 20, mode=0o700)),),
        hosts=("10.0.0.9 db",),
    )
    _, lines = await run(rig, "", spec=spec, hostname="web-1")
    assert [line.decode().split() for line in lines] == [
        ["1000"],
        ["1000", "7"],
        ["web-1"],
        ["b", "c"],
        ["/tmp"],
        ["100"],
        ["99"],
        ["sealed"],
        ["700"],
        ["NoNewPrivs:", "0"],
        ["10.0.0.9", "db"],
    ]


async def test_two_networks_with_fixed_addresses_are_there_when_it_starts(rig: DockerRig) -> None:
    for number in (1, 2):
        await asyncio.to_thread(rig.rig.docker, "network", "create", "--subnet", f"10.77.{number}.0/24", f"net{number}")
    try:
        first = EngineNetwork(name="net1", address="10.77.1.9", mac="02:42:0a:4d:01:09", aliases=("web",))
        sandbox = SandboxPlan(networks=(first, EngineNetwork(name="net2", address="10.77.2.9")))
        container_id, lines = await run(rig, "ip -o addr; ip -o link; sleep 60", sandbox=sandbox, wait=False)
        async with asyncio.timeout(10):
            while len(lines) < 6:
                lines = [line.line for line in await read(rig, container_id)]
        shown = b"".join(lines).decode()
        assert "10.77.1.9/24" in shown
        assert "10.77.2.9/24" in shown
        assert "02:42:0a:4d:01:09" in shown
        assert (await state_of(rig, container_id)).addresses == {"net1": "10.77.1.9", "net2": "10.77.2.9"}
        await rig.engine.remove(container_id)
    finally:
        await asyncio.to_thread(rig.rig.docker, "network", "rm", "net1", "net2")


async def test_host_ports_are_published_and_shown(rig: DockerRig) -> None:
    ports = (
        PortConfig(protocol="tcp", target_port=80, published_port=18080, publish_mode="host"),
        PortConfig(protocol="tcp", target_port=81),
    )
    container_id, _ = await run(rig, "sleep 60", host_ports=ports, wait=False)
    published = {port.target_port: port.published_port for port in (await state_of(rig, container_id)).ports}
    assert published[80] == 18080
    assert published[81] >= 1024


async def test_an_image_can_be_given_by_its_id(rig: DockerRig) -> None:
    image_id = (await asyncio.to_thread(rig.rig.docker, "image", "inspect", "-f", "{{.Id}}", IMAGE)).strip()
    for name in (image_id, image_id.removeprefix("sha256:")[:12]):
        await rig.engine.pull(name, registry_auth="")


async def test_a_terminals_log_is_read_as_text(rig: DockerRig) -> None:
    container_id, lines = await run(rig, "", spec=shell("echo one; echo two >&2", tty=True))
    assert lines == [b"one\r\n", b"two\r\n"]
    assert container_id


async def test_stderr_and_long_lines_keep_their_bytes(rig: DockerRig) -> None:
    container_id, _ = await run(rig, "head -c 40000 /dev/zero; echo; echo err >&2")
    lines = await read(rig, container_id)
    assert b"".join(line.line for line in lines if line.source == 1) == b"\0" * 40_000 + b"\n"
    assert [line.line for line in lines if line.source == 2] == [b"err\n"]


async def test_a_missing_bind_source_is_refused_in_the_engines_words(rig: DockerRig) -> None:
    mount = Mount(type="bind", source="/no/such/place", target="/x")
    with pytest.raises(EngineError, match="bind source path does not exist: /no/such/place"):
        await run(rig, "", spec=shell("true", mounts=(mount,)))


async def test_what_this_engine_is_too_old_for_is_refused_not_dropped(rig: DockerRig) -> None:
    options = TmpfsOptions(options=(("exec",),))
    if (await rig.engine.info()).api_version >= "1.46":
        pytest.skip("this engine knows tmpfs options")
    with pytest.raises(Unsupported, match=r"needs engine API 1\.46"):
        await run(rig, "", spec=shell("true", mounts=(Mount(type="tmpfs", target="/x", tmpfs_options=options),)))


async def test_a_hundred_open_streams_do_not_block_a_call(rig: DockerRig) -> None:
    container_id, _ = await run(rig, "sleep 60", wait=False)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        readers = [group.create_task(read(rig, container_id, follow=True)) for _ in range(120)]
        await asyncio.sleep(1)
        async with asyncio.timeout(5):
            assert (await rig.engine.info()).cpus > 0
        await rig.engine.remove(container_id)
    assert all(reader.done() for reader in readers)


async def test_an_engine_that_is_not_there_is_gone_not_refusing(rig: DockerRig) -> None:
    nobody = DockerEngine("unix:///no/such.sock", clock=SystemClock())
    try:
        with pytest.raises(EngineGone, match=r"the engine at unix:///no/such.sock does not answer"):
            await nobody.inspect("x")
    finally:
        await nobody.close()
