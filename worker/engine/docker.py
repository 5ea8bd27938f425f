"""The engine port over the Docker Engine API: dockerd, and what speaks like it. Calls only; what they mean is in the modules beside."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence

from aiodocker.networks import DockerNetwork
from msgspec.structs import replace

from cluster.aio.clock import Clock
from worker.engine.docker_create import MANY_NETWORKS, Json, create_body, endpoint_settings, later_networks
from worker.engine.docker_events import KINDS, EventStream
from worker.engine.docker_http import DockerLink, RefusedCall, engine_words
from worker.engine.docker_images import Images
from worker.engine.docker_logs import FramedLog, TerminalLog, log_query
from worker.engine.docker_states import engine_info, inspected, listed, speaks_for_shoal
from worker.plan import CLUSTER_LABEL, TASK_LABEL
from worker.ports import (
    LISTENING,
    ContainerPlan,
    ContainerState,
    EngineError,
    EngineEvent,
    EngineGone,
    EngineInfo,
    ExecResult,
    LogLine,
    NoSuchImage,
)

EXEC_OUTPUT = 4096
_GRACE_SLACK = 30.0
"""Seconds beyond the grace after which a stop that does not return is asked about again."""


class TalkingToOurselves(EngineError):
    """The engine's address leads back to a Shoal daemon."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is a Shoal daemon's socket, not an engine's; unset DOCKER_HOST or pass --engine unix:///path/of/engine.sock"
        )


class DockerEngine:
    """One engine at one address. To be made inside a running event loop and closed with `close`."""

    def __init__(self, address: str, *, clock: Clock) -> None:
        self.address = address
        self._link = DockerLink(address)
        self._images = Images(self._link, clock)

    async def close(self) -> None:
        await self._link.close()

    async def info(self) -> EngineInfo:
        version = await self._link.version()
        if speaks_for_shoal(version):
            raise TalkingToOurselves(self.address)
        docker = await self._link.docker()
        with engine_words(self.address):
            return engine_info(await docker.system.info(), version)

    async def pull(self, image: str, *, registry_auth: str) -> None:
        await self._images.ensure(image, registry_auth=registry_auth)

    # -- containers ----------------------------------------------------------------------------------------------------------------------
    async def create(self, plan: ContainerPlan) -> str:
        api = await self._link.api()
        body = create_body(plan, api)
        try:
            container_id = await self._create(plan, body)
        except RefusedCall as error:
            if error.status == 409 and await self._remove_leftover(plan):
                container_id = await self._create(plan, body)
            elif error.status == 404 and "image" in str(error).lower():
                raise NoSuchImage(str(error)) from error
            else:
                raise
        try:
            await self._connect_later(plan, container_id)
        except BaseException:
            await self.remove(container_id)  # half connected it would pass for created when we look again
            raise
        return container_id

    async def _create(self, plan: ContainerPlan, body: Json) -> str:
        docker = await self._link.docker()
        with engine_words(self.address):
            return str((await docker.containers.create(body, name=plan.name)).id)

    async def _remove_leftover(self, plan: ContainerPlan) -> bool:
        """A container with our name is ours if it is of the same task: a create whose answer we did not live to hear."""
        leftover = await self.inspect(plan.name)
        if leftover is None:
            return True
        if leftover.labels.get(TASK_LABEL) != plan.labels.get(TASK_LABEL):
            return False
        await self.remove(leftover.id)
        return True

    async def _connect_later(self, plan: ContainerPlan, container_id: str) -> None:
        docker = await self._link.docker()
        api = await self._link.api()
        for network in later_networks(plan, api):
            # the MAC of a later network has no place in older versions; the address has
            settings = endpoint_settings(network if api >= MANY_NETWORKS else replace(network, mac=""), api)
            with engine_words(self.address):
                await DockerNetwork(docker, network.name).connect(  # type: ignore[no-untyped-call]
                    {"Container": container_id, "EndpointConfig": settings}
                )

    async def start(self, container_id: str) -> None:
        docker = await self._link.docker()
        with engine_words(self.address):
            await docker.containers.container(container_id).start()

    async def stop(self, container_id: str, *, grace: float, signal: str) -> None:
        docker = await self._link.docker()
        named = signal if signal and await self._link.api() >= (1, 42) else None  # before it: the signal given at create
        seconds = max(0, round(grace))
        try:
            with engine_words(self.address):
                async with asyncio.timeout(seconds + _GRACE_SLACK):
                    await docker.containers.container(container_id).stop(t=seconds, signal=named)
        except RefusedCall as error:
            if error.status not in (304, 404):
                raise

    async def remove(self, container_id: str) -> None:
        docker = await self._link.docker()
        try:
            with engine_words(self.address):
                await docker.containers.container(container_id).delete(force=True, v=True)
        except RefusedCall as error:
            if error.status != 404 and "already in progress" not in str(error):
                raise

    async def exec(self, container_id: str, command: Sequence[str]) -> ExecResult:
        docker = await self._link.docker()
        with engine_words(self.address):
            running = await docker.containers.container(container_id).exec(cmd=list(command), stdin=False)
            output = bytearray()
            async with running.start(detach=False) as stream:
                while (message := await stream.read_out()) is not None:
                    output += message.data[: EXEC_OUTPUT - len(output)]
            shown = await running.inspect()
        return ExecResult(exit_code=int(shown.get("ExitCode") or 0), output=output.decode(errors="replace").strip())

    async def inspect(self, container_id: str) -> ContainerState | None:
        docker = await self._link.docker()
        try:
            with engine_words(self.address):
                return inspected(await docker.containers.container(container_id).show())
        except RefusedCall as error:
            if error.status == 404:
                return None
            raise

    async def list(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        wanted = json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})
        with engine_words(self.address):
            async with self._link.stream("GET", "containers/json", query={"all": "1", "filters": wanted}) as content:
                answers = json.loads(await content.read())
        return [listed(answer) for answer in answers]

    # -- streams -------------------------------------------------------------------------------------------------------------------------
    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        await self._link.negotiate()
        wanted = json.dumps({"type": ["container"], "label": [CLUSTER_LABEL], "event": sorted(KINDS)})
        stream = EventStream()
        with engine_words(self.address):
            async with self._link.stream("GET", "events", query={"filters": wanted}) as content:
                yield EngineEvent(container_id="", kind=LISTENING)
                async for received in content.iter_any():
                    for event in stream.feed(received):
                        yield event
        raise EngineGone(f"the engine at {self.address} ended the stream of its events")

    async def logs(
        self, container_id: str, *, follow: bool, tail: int, since: int, until: int, stdout: bool, stderr: bool
    ) -> AsyncGenerator[LogLine, None]:
        docker = await self._link.docker()
        query = log_query(follow=follow, tail=tail, since=since, until=until, stdout=stdout, stderr=stderr)
        with engine_words(self.address):
            shown = await docker.containers.container(container_id).show()
            # an engine before 1.42 does not say which form it sends, the container's terminal does
            log = TerminalLog() if (shown.get("Config") or {}).get("Tty") else FramedLog()
            async with self._link.stream("GET", f"containers/{container_id}/logs", query=query) as content:
                async for received in content.iter_any():
                    for line in log.feed(received):
                        yield line
        for line in log.rest():
            yield line
