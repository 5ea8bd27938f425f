"""The composition root: builds every object of this machine's daemon, runs them nested, and ends them inside out.

SIGTERM ends the daemon, never containers. SIGHUP reloads labels and log level.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from cluster.api.errors import InvalidArgument, ShoalError
from cluster.api.states import Kind
from node_agent import logs, machine
from node_agent.api.cluster import ClusterNoun
from node_agent.api.crossings import Meeting
from node_agent.api.door import Door
from node_agent.api.elsewhere import Elsewhere
from node_agent.api.engine_link import EngineLink
from node_agent.api.engine_proxy import EngineProxy
from node_agent.api.events import Events
from node_agent.api.listeners import Listening, bind_tcp, bind_unix, inherited
from node_agent.api.networks import Networks
from node_agent.api.nodes import Nodes
from node_agent.api.orchestration import Orchestration
from node_agent.api.routing import Route
from node_agent.api.secrets import Files
from node_agent.api.server import ApiServer
from node_agent.api.service_logs import Logs
from node_agent.api.services import Services
from node_agent.api.swarm import SwarmNoun
from node_agent.api.swarm_events import EventLog
from node_agent.api.system import Product, System
from node_agent.api.tasks import Tasks
from node_agent.config import Config, parse_host
from node_agent.crossings import SwarmCrossings
from node_agent.inventory import Inventory
from node_agent.leaving import clear
from node_agent.local_swarm import LocalSwarm
from node_agent.metrics import Metrics, NodeCollector, NothingElse, SwarmCollector
from node_agent.network.crypt.driver import NoDriver, announcement, driver_name
from node_agent.network.data_plane import choose
from node_agent.network.engine_networks import DockerNetworks
from node_agent.parts import NodeParts
from node_agent.state import StateFolder
from node_agent.swarm_node import SwarmNode
from node_agent.watchdog import Watchdog
from worker.engine.docker import DockerEngine
from worker.engine.find import USUAL_SOCKETS, EngineConfig, open_engine

VERSION = "0.1.0"
Reload = Callable[[], Config]
Loop = Callable[[], Coroutine[Any, Any, None]]
log = logging.getLogger(__name__)


class Sockets(NamedTuple):
    """Bound, and not yet served."""

    api: Sequence[Listening]
    figures: Sequence[Listening]
    """Where nothing but /metrics is served."""


async def run(config: Config, reload: Reload) -> None:
    """Live until told to stop; `reload` reads the configuration anew, for SIGHUP.

    Raises ShoalError, in one clear line, for what keeps the daemon from running.
    """
    logs.set_up(level=config.log_level, style=config.log_format, debug=config.debug)
    given = inherited(os.environ, os.getpid())  # before anything is started that must not have them
    config.runtime.mkdir(parents=True, exist_ok=True, mode=0o711)
    state = StateFolder(config.data)
    clock, rng = SystemClock(), machine.rng()
    try:
        with _pid_file(Path(config.pidfile)):
            async with open_engine(_engine_config(config), clock=clock, rng=rng) as engine:
                sockets = Sockets(_listen(config, given), _listen_for_scrapes(config))
                await _serve(config, reload, sockets=sockets, state=state, engine=engine, clock=clock)
    finally:
        state.close()


def _engine_config(config: Config) -> EngineConfig:
    """`dockerd` insists on an engine of our own; `auto` takes one that runs, else starts one."""
    named = {"dockerd": "auto", "podman": "unix:///run/podman/podman.sock"}.get(config.engine, config.engine)
    own = config.engine == "dockerd"
    return EngineConfig(
        state=Path(config.engine_root) if config.engine_root else config.data,
        runtime=config.runtime,
        engine=named,
        own_socket=_socket_path(config),
        environ={} if own else dict(os.environ),
        usual_sockets=() if own else USUAL_SOCKETS,
        settings=config.engine_options,
    )


def _socket_path(config: Config) -> str:
    return next((parse_host(host).path for host in config.hosts if host.startswith("unix://")), "")


async def _serve(config: Config, reload: Reload, *, sockets: Sockets, state: StateFolder, engine: DockerEngine, clock: SystemClock) -> None:
    rng = machine.rng()
    data_plane = choose()
    if data_plane.reason:
        log.warning("data plane: %s", data_plane.announcement)
    inventory = Inventory(engine, config, clock, linked=not data_plane.reason)
    await inventory.look()
    link = EngineLink(engine.address.removeprefix("unix://"))
    async with DockerNetworks(Path(link.socket_path)) as networks:
        parts = NodeParts(
            state=state,
            engine=engine,
            networks=networks,
            door=Door(link),
            data_plane=data_plane,
            inventory=inventory,
            clock=clock,
            rng=rng,
            runtime=config.runtime,
            rotate_keys_after=config.data_key_rotation,
            socket=_socket_path(config) if config.socket_rewrite else "",
            feature_level=config.feature_level,
        )
        swarm = LocalSwarm(
            state=state,
            clock=clock,
            rng=rng,
            advertise=config.swarm_default_advertise_addr,
            build=lambda member: SwarmNode(parts, *member[:2], availability=member.availability),
            clear=partial(clear, parts),
            feature_level=config.feature_level,
        )
        loops = (Watchdog().run, inventory.run, swarm.run)
        product = Product(version=VERSION, encryption=NoDriver.name if data_plane.reason else driver_name(), warnings=data_plane.warnings)
        answering = _answering(config, sockets, swarm, link, clock, networks=networks, product=product)
        async with background(*loops, *answering), _signals(partial(_reload, reload, inventory)) as told:
            machine.tame_collector()
            machine.notify("READY=1")
            chosen = f"data plane: {data_plane.name}; encrypted networks: {'none here' if data_plane.reason else announcement()}"
            log.info("shoald %s is ready: %s; %s", VERSION, ", ".join(config.hosts), chosen)
            await told.wait()
            machine.notify("STOPPING=1")
            log.info("stopping; containers go on")
            machine.end_within(config.shutdown_timeout)
            await swarm.farewell()


def _reload(reload: Reload, inventory: Inventory) -> None:
    """What can change without a restart: labels and log level."""
    try:
        config = reload()
    except ShoalError as wrong:
        log.error("the configuration was not reloaded: %s", wrong)
        return
    logs.set_level(config.log_level, debug=config.debug)
    inventory.reconfigure(config)
    log.info("configuration reloaded: labels %s, log level %s", dict(config.label_map), config.log_level)


def _answering(
    config: Config,
    sockets: Sockets,
    swarm: LocalSwarm,
    link: EngineLink,
    clock: SystemClock,
    *,
    networks: DockerNetworks,
    product: Product,
) -> tuple[Loop, ...]:
    """The HTTP API over sockets that listen already."""
    events = EventLog(clock)
    crossings = SwarmCrossings(swarm, networks)
    meeting = Meeting(link, crossings, our_socket=_socket_path(config) if config.socket_rewrite else None)
    metrics = Metrics([NodeCollector(VERSION, lambda: swarm.state, swarm.live_tasks), SwarmCollector(swarm.latest, swarm.raft_status)])
    nouns = (
        System(product, link, swarm, hostname=config.hostname),
        Events(link, events, clock, show=meeting.show_event, engine_name=crossings.engine_name),
        Services(swarm),
        Logs(swarm, clock),
        Tasks(swarm),
        Orchestration(swarm),
        Nodes(swarm),
        Files(swarm, Kind.SECRET),
        Files(swarm, Kind.CONFIG),
        SwarmNoun(swarm),
        ClusterNoun(swarm, product=VERSION),
        Networks(swarm, link, clock, crossings),
        meeting,
        metrics,
    )
    routes: list[Route] = [route for noun in nouns for route in noun.routes()]
    server = ApiServer(routes, EngineProxy(link, Elsewhere(swarm)), product=product.server)
    figures = ApiServer(metrics.routes(), NothingElse(), product=product.server)
    return partial(swarm.follow, events), partial(server.run, sockets.api), partial(figures.run, sockets.figures)


@asynccontextmanager
async def _signals(reload: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """SIGTERM and SIGINT set the event, SIGHUP reloads what can be."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield told
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _listen(config: Config, given: Mapping[str, socket.socket]) -> list[Listening]:
    """Bind every address that systemd did not bind for us. Raises ShoalError naming the one that is taken.

    A container that mounts our socket holds its inode: one that outlives us, as systemd's does, goes on working for it through a restart.
    """
    bound = []
    if strangers := sorted(given.keys() - {parse_host(host).path for host in config.hosts}):
        raise InvalidArgument(f"systemd gave us the socket {strangers[0]}, which no -H names: change ListenStream= in shoald.socket, or -H")
    for host in config.hosts:
        address = parse_host(host)
        if address.path in given:
            bound.append(Listening(given[address.path]))
        elif address.scheme == "unix":
            Path(address.path).parent.mkdir(parents=True, exist_ok=True)
            bound.append(bind_unix(address.path, group=config.group))
        else:
            bound.append(bind_tcp(address.host, address.port, tls=_tls(config)))
    return bound


def _listen_for_scrapes(config: Config) -> list[Listening]:
    """Figures of this daemon hold no secrets, so they are served without certificates, wherever the operator wants them."""
    if not config.metrics_addr:
        return []
    address = parse_host(f"tcp://{config.metrics_addr}")
    return [bind_tcp(address.host, address.port)]


def _tls(config: Config) -> ssl.SSLContext | None:
    if not (config.tls or config.tlsverify):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
        if config.tlsverify:
            context.load_verify_locations(config.tlscacert)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as missing:
        raise InvalidArgument(f"--tlscert, --tlskey and --tlscacert must name readable files: {missing}") from missing
    return context


@contextmanager
def _pid_file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
