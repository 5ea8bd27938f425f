"""What this node tells the managers of itself: its engine, its resources, the networks it is on; looked at again and again."""

import logging
import os
import socket
from collections.abc import Mapping

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.api.errors import InvalidArgument
from cluster.api.objects import EngineDescription, NodeDescription
from cluster.api.specs import DiscreteResource, GenericResource, NamedResource, Platform, Reservations
from node_agent.addresses import routes
from node_agent.config import Config
from node_agent.network.crypt.driver import NoDriver, driver_name
from worker.ports import Engine, EngineError, EngineInfo

log = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds."""


def describe(info: EngineInfo, config: Config, *, hostname: str, subnets: tuple[str, ...], encryption: str = "") -> NodeDescription:
    """A node's description, from what its engine and its host say. `encryption`: the driver of encrypted networks here. Pure."""
    plugins = (*info.plugins, {"Type": "OverlayEncryption", "Name": encryption}) if encryption else info.plugins
    return NodeDescription(
        hostname=hostname,
        platform=Platform(architecture=info.architecture, os=info.os),
        resources=Reservations(
            nano_cpus=info.cpus * 1_000_000_000,
            memory_bytes=info.memory_bytes,
            generic_resources=generic_resources(config.node_generic_resources),
        ),
        engine=EngineDescription(engine_version=info.version, labels=merged_labels(info.labels, config.label_map), plugins=plugins),
        subnets=subnets,
        feature_level=config.feature_level,
    )


def merged_labels(engine: Mapping[str, str], ours: Mapping[str, str]) -> Mapping[str, str]:
    return {**engine, **ours}


def generic_resources(texts: tuple[str, ...]) -> tuple[GenericResource, ...]:
    """`gpu=UUID1`, `gpu=UUID2` are named, `ssd=3` is a number of them. Raises InvalidArgument."""
    found = []
    for text in texts:
        kind, separator, value = text.partition("=")
        if not separator or not kind or not value:
            raise InvalidArgument(f"bad generic resource {text!r}: it reads KIND=VALUE, such as gpu=UUID1 or ssd=3")
        if value.isdigit():
            found.append(GenericResource(discrete_resource_spec=DiscreteResource(kind=kind, value=int(value))))
        else:
            found.append(GenericResource(named_resource_spec=NamedResource(kind=kind, value=value)))
    return tuple(found)


class Inventory:
    """Holds the latest description; `run` refreshes it."""

    def __init__(self, engine: Engine, config: Config, clock: Clock, *, linked: bool = True) -> None:
        """`linked`: this node's data plane is the kernel's."""
        self._engine = engine
        self._config = config
        self._clock = clock
        self._linked = linked
        self._info = EngineInfo(
            architecture=os.uname().machine,
            cpus=os.cpu_count() or 1,
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        )
        self._trouble: tuple[str, ...] = ()
        self._encryption = driver_name() if linked else NoDriver.name
        self.description = Latest(self._describe())

    def _describe(self) -> NodeDescription:
        hostname = self._config.hostname or socket.gethostname()
        described = describe(self._info, self._config, hostname=hostname, subnets=tuple(routes()), encryption=self._encryption)
        return replace(described, trouble=self._trouble, linked=self._linked)

    def reconfigure(self, config: Config) -> None:
        """Other labels or resources from now on."""
        self._config = config
        self._refresh()

    def say(self, trouble: tuple[str, ...]) -> None:
        """What is wrong on this host, by now."""
        self._trouble = trouble
        self._refresh()

    async def look(self) -> None:
        """Once, now. An engine that is away leaves what it said last."""
        try:
            self._info = await self._engine.info()
        except EngineError as away:
            log.debug("inventory: %s", away)
        self._refresh()

    def _refresh(self) -> None:
        fresh = self._describe()
        if fresh != self.description.value:
            self.description.set(fresh)

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY)
            await self.look()
