"""Which engine this node uses: the one that is named, one that runs, or one that we start; never one in swarm mode, never a taken one."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.aio.supervise import background
from worker.engine.claim import FOLDER, EngineClaim
from worker.engine.docker import DockerEngine, TalkingToOurselves
from worker.engine.launcher import EngineLauncher, EngineMissing
from worker.ports import EngineError, EngineGone

USUAL_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
_RETRY = 2.0
_log = logging.getLogger(__name__)


class EngineInSwarmMode(EngineError):
    """dockerd's own swarm mode and we would both manage its networks and tasks."""

    def __init__(self, address: str) -> None:
        super().__init__(f"the engine at {address} is in Docker's swarm mode; run `docker swarm leave --force` on this host first")


class EngineConfig(Struct, frozen=True, kw_only=True):
    """`engine`: auto, or an address (unix://..., tcp://...)."""

    state: Path
    runtime: Path
    engine: str = "auto"
    own_socket: str = "/run/shoal/shoal.sock"
    """Ours: never taken for an engine's."""
    environ: Mapping[str, str] = {}
    usual_sockets: tuple[str, ...] = USUAL_SOCKETS
    command: Sequence[str] = ("dockerd",)
    settings: Mapping[str, object] = {}
    """Keys of daemon.json for a dockerd that we start; they win over the host's file."""
    claims: Path = FOLDER


@asynccontextmanager
async def open_engine(config: EngineConfig, *, clock: Clock, rng: Random) -> AsyncIterator[DockerEngine]:
    """The engine, for as long as the block runs. Raises EngineMissing, EngineInSwarmMode, EngineTaken, TalkingToOurselves.

    A named engine that does not answer yet is waited for beside the block: tasks wait for it, nothing is lost.
    """
    launcher = EngineLauncher(
        state=config.state, runtime=config.runtime, clock=clock, rng=rng, command=config.command, settings=config.settings
    )
    address = await choose(config, launcher, clock=clock)
    loops = (launcher.run,) if address == launcher.address else ()
    async with background(*loops):
        if loops:
            await launcher.wait_ready()
        engine = DockerEngine(address, clock=clock)
        try:
            async with _claimed(engine, config, clock):
                yield engine
        finally:
            await engine.close()


async def choose(config: EngineConfig, launcher: EngineLauncher, *, clock: Clock) -> str:
    """Its address. What `auto` chose once it keeps: tasks live on that engine."""
    if config.engine != "auto":
        return config.engine
    memory = config.state / "engine.address"
    if memory.exists():
        return memory.read_text().strip()
    address = await _running_engine(config, clock) or (launcher.address if launcher.installed() else "")
    if not address:
        raise EngineMissing
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory.write_text(address + "\n")
    return address


async def _running_engine(config: EngineConfig, clock: Clock) -> str:
    named = config.environ.get("DOCKER_HOST", "")
    candidates = [named] if named else [f"unix://{path}" for path in config.usual_sockets]
    for address in candidates:
        if not address.endswith(config.own_socket) and await _answers(address, clock):
            return address
    return ""


async def _answers(address: str, clock: Clock) -> bool:
    engine = DockerEngine(address, clock=clock)
    try:
        async with asyncio.timeout(10):
            await engine.info()
    except (EngineGone, TimeoutError, TalkingToOurselves):
        return False
    finally:
        await engine.close()
    return True


@asynccontextmanager
async def _claimed(engine: DockerEngine, config: EngineConfig, clock: Clock) -> AsyncIterator[None]:
    """Checked and claimed now, or as soon as it answers."""
    claims: list[EngineClaim] = []

    async def claim() -> None:
        info = await engine.info()
        if info.in_swarm_mode:
            raise EngineInSwarmMode(engine.address)
        claims.append(EngineClaim(engine.address, info.id, holder=f"process {os.getpid()}, state {config.state}", folder=config.claims))

    async def claim_when_it_answers() -> None:
        while not claims:
            await clock.sleep(_RETRY)
            try:
                await claim()
            except EngineGone:
                continue
        await asyncio.Event().wait()

    try:
        await claim()
    except EngineGone as error:
        _log.error("%s; waiting for it", error)
    try:
        async with background(*([] if claims else [claim_when_it_answers])):
            yield
    finally:
        for held in claims:
            held.release()
