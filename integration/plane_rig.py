"""A few hosts, each with a dockerd and a data plane, and hand-made endpoints in place of managers."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast

import msgspec

from cluster.aio.clock import SystemClock
from cluster.api.assignment import AssignedAttachment, AssignedTask
from cluster.api.endpoint import Backend, DataKey, EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.specs import ContainerSpec, NetworkAttachmentConfig, PortConfig, TaskSpec
from cluster.api.states import TaskState
from integration.netlab import IMAGE, Engine, Host, Lab, at_once, in_namespace_of
from node_agent.network.data_plane import DataPlane
from node_agent.network.engine_networks import DockerNetworks
from node_agent.network.plane import Plane
from node_agent.network.userspace import UserPlane
from worker.ports import ContainerState, SandboxPlan

INGRESS_SUBNET = "10.96.0.0/20"
PORT = 8000


def network(number: int, *, internal: bool = False, encrypted: bool = False) -> OverlayNetwork:
    subnet = f"10.50.{number}"
    return OverlayNetwork(
        network_id=f"net{number}".ljust(25, "0"),
        name=f"shop_net{number}",
        subnet=f"{subnet}.0/24",
        gateway=f"{subnet}.1",
        vni=4096 + number,
        internal=internal,
        options={"encrypted": ""} if encrypted else {},
    )


def data_key(number: int) -> DataKey:
    return DataKey(id=number, key=os.urandom(32))


class Node:
    """One host with its engine and its plane: the kernel's, or the one in userspace."""

    def __init__(self, host: Host, engine: Engine, number: int, folder: Path, *, linked: bool = True) -> None:
        self.host = host
        self.engine = engine
        self.number = number
        self.linked = linked
        self.folder = folder
        self.id = f"node{number}".ljust(25, "0")
        self._stack = AsyncExitStack()
        self.plane: DataPlane
        self.trouble: tuple[str, ...] = ()

    @property
    def peer(self) -> Peer:
        return Peer(node_id=self.id, number=self.number, addr=self.host.address, hostname=self.host.name, linked=self.linked)

    async def start(self) -> None:
        networks = await self._stack.enter_async_context(DockerNetworks(self.engine.socket))
        self.plane = self._kernels(networks) if self.linked else self._userspace(networks)
        await self._stack.enter_async_context(self.plane)

    def _kernels(self, networks: DockerNetworks) -> Plane:
        return Plane(
            node_id=self.id,
            runtime=self.folder / "run",
            engine=networks,
            clock=SystemClock(),
            namespace=self.host.namespace,
            resolv_conf=self.folder / "resolv.conf",
            on_trouble=self._hear,
        )

    def _userspace(self, networks: DockerNetworks) -> UserPlane:
        return UserPlane(
            node_id=self.id,
            runtime=self.folder / "run",
            engine=networks,
            clock=SystemClock(),
            reason="the test wants it so",
            namespace=self.host.namespace,
            on_trouble=self._hear,
        )

    def _hear(self, trouble: tuple[str, ...]) -> None:
        self.trouble = trouble

    async def stop(self) -> None:
        """The daemon ends; what it programmed stays."""
        await self._stack.aclose()

    def name_server(self) -> int:
        """The process id of this node's name server."""
        return self._companion("dns.sock")

    def sealer(self) -> int:
        """The process id of what seals this node's packets."""
        return self._companion("crypt.sock")

    def balancer(self) -> int:
        """The process id of what balances on this node."""
        return self._companion("balance.sock")

    def _companion(self, socket_name: str) -> int:
        control = str(self.folder / "run" / socket_name).encode()
        found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if control in path.read_bytes()]
        assert len(found) == 1, found
        return found[0]


class Task:
    """A task that runs on a node."""

    def __init__(self, node: Node, assigned: AssignedTask, container: ContainerState, plan: SandboxPlan) -> None:
        self.node = node
        self.assigned = assigned
        self.container = container
        self.plan = plan

    @property
    def id(self) -> str:
        return self.assigned.id

    def address(self, on: OverlayNetwork) -> str:
        return next(a.address.split("/")[0] for a in self.assigned.attachments if a.network_id == on.network_id)

    def inside(self) -> AbstractContextManager[None]:
        return in_namespace_of(self.container.pid)


class Rig:
    """The cluster as the managers would tell it."""

    def __init__(self, nodes: Sequence[Node], lab: Lab) -> None:
        self.nodes = nodes
        self.lab = lab
        self.networks: dict[str, OverlayNetwork] = {}
        self.services: dict[str, ServiceEndpoint] = {}
        self.tasks: dict[str, Task] = {}
        self.version = 0
        self.keys = (data_key(1), data_key(2))
        self._count = 1
        self._servers: list[asyncio.Server | asyncio.BaseTransport] = []

    async def tell(self, *nodes: Node) -> None:
        """Everything, to every node unless some are named; each must acknowledge it."""
        self.version += 1
        update = EndpointUpdate(
            version=self.version,
            complete=True,
            peers=tuple(node.peer for node in self.nodes),
            networks=tuple(self.networks.values()),
            services=tuple(self.services.values()),
            ingress_subnet=INGRESS_SUBNET,
            data_keys=self.keys if any(one.encrypted for one in self.networks.values()) else (),
        )
        # In two parts, as the manager sends what is large.
        first = msgspec.structs.replace(update, services=())
        rest = EndpointUpdate(version=self.version, services=update.services)
        told_ones = nodes or self.nodes
        await asyncio.gather(*(node.plane.update(first, more=True) for node in told_ones))
        told = await asyncio.gather(*(node.plane.update(rest) for node in told_ones))
        assert set(told) == {self.version}

    def service(
        self,
        name: str,
        *networks: OverlayNetwork,
        ports: Sequence[PortConfig] = (),
        dnsrr: bool = False,
        aliases: tuple[str, ...] = (),
        affinity: str = "",
        prefer_local: bool = False,
    ) -> None:
        """Its VIP is the network's address number 200 and up."""
        for one in networks:
            self.networks[one.network_id] = one
        place = 200 + len(self.services)
        members = tuple(
            ServiceNetwork(network_id=one.network_id, vip="" if dnsrr else str(IPv4Network(one.subnet)[place]), aliases=aliases)
            for one in networks
        )
        self.services[name] = ServiceEndpoint(
            service_id=name.ljust(25, "0"),
            name=name,
            dnsrr=dnsrr,
            affinity=affinity,
            prefer_local=prefer_local,
            networks=members,
            ports=tuple(ports),
        )

    @staticmethod
    def _address(on: OverlayNetwork, number: int) -> str:
        subnet = IPv4Network(on.subnet)
        return f"{subnet[number]}/{subnet.prefixlen}"

    def vip(self, name: str) -> str:
        return self.services[name].networks[0].vip

    async def run(self, name: str, node: Node, *, ready: bool = True, spec: ContainerSpec | None = None, serve: bool = True) -> Task:
        """A new task of the service: prepared, created, started, attached as the worker does it."""
        running = await self.start(name, node, spec=spec)
        await node.plane.attach(running.assigned, running.container)
        if serve:
            await self.serve(running)
        if ready:
            await self.set_ready(running, ready=True)
        return running

    async def start(self, name: str, node: Node, *, spec: ContainerSpec | None = None) -> Task:
        """Its container runs, and the data plane has not been told so."""
        task = self.assign(name, node, spec=spec)
        self._back(name, task, node, ready=False)
        await self.tell()
        await node.plane.serve([self.networks[a.network_id] for a in task.attachments])
        plan = await node.plane.prepare(task)
        container = await asyncio.to_thread(start_container, node.engine, task, plan)
        self.tasks[task.id] = Task(node, task, container, plan)
        return self.tasks[task.id]

    def assign(self, name: str, node: Node, *, spec: ContainerSpec | None = None) -> AssignedTask:
        service = self.services[name]
        self._count += 1
        attachments = tuple(
            AssignedAttachment(network_id=one.network_id, address=self._address(self.networks[one.network_id], self._count))
            for one in service.networks
        )
        return AssignedTask(
            id=f"task{self._count}".ljust(25, "0"),
            service_id=service.service_id,
            service_name=name,
            slot=self._count,
            node_id=node.id,
            spec=TaskSpec(
                container_spec=spec or ContainerSpec(image=IMAGE),
                networks=tuple(NetworkAttachmentConfig(target=one.network_id) for one in service.networks),
            ),
            desired_state=TaskState.RUNNING,
            attachments=attachments,
            publishes=bool(service.ports),
        )

    def _back(self, name: str, task: AssignedTask, node: Node, *, ready: bool) -> None:
        backend = Backend(
            task_id=task.id,
            node_id=node.id,
            slot=task.slot,
            ready=ready,
            addresses={a.network_id: a.address.split("/")[0] for a in task.attachments},
            container_name=task.name,
        )
        service = self.services[name]
        others = tuple(one for one in service.backends if one.task_id != task.id)
        self.services[name] = msgspec.structs.replace(service, backends=(*others, backend))

    async def set_ready(self, task: Task, *, ready: bool) -> None:
        self._back(task.assigned.service_name, task.assigned, task.node, ready=ready)
        await self.tell()

    async def end(self, task: Task) -> None:
        """As the worker ends one: out of the endpoints, stopped, removed."""
        await task.node.plane.withdraw(task.id)
        await asyncio.to_thread(task.node.engine.docker, "rm", "-f", task.assigned.name)
        await task.node.plane.remove(task.id)
        service = self.services[task.assigned.service_name]
        left = tuple(one for one in service.backends if one.task_id != task.id)
        self.services[task.assigned.service_name] = msgspec.structs.replace(service, backends=left)
        del self.tasks[task.id]
        await self.tell()

    # -- traffic -----------------------------------------------------------------------------------------------------------------------
    async def serve(self, task: Task, port: int = PORT) -> None:
        """The task answers every connection with its id and the address that it sees the client at."""
        with task.inside():
            listening = socket.create_server(("0.0.0.0", port), backlog=512)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{task.id} {writer.get_extra_info('peername')[0]}\n".encode())
            try:
                await writer.drain()
                while line := await reader.readline():  # whatever comes is sent back, until the client has enough
                    writer.write(line)
            except ConnectionError:
                pass
            finally:
                writer.close()

        self._servers.append(await asyncio.start_server(answer, sock=listening))

    async def echo(self, task: Task, port: int) -> None:
        """The task answers every datagram with its id."""
        with task.inside():
            listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.bind(("0.0.0.0", port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Echo(task.id), sock=listening)
        self._servers.append(transport)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._name.encode(), addr)


async def connect(inside: Callable[[], AbstractContextManager[None]], address: str, port: int = PORT, seconds: float = 5) -> socket.socket:
    """A connection from that namespace."""
    with inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setblocking(False)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(client, (address, port))
    except BaseException:
        client.close()
        raise
    return client


async def ask(inside: Callable[[], AbstractContextManager[None]], address: str, port: int = PORT) -> tuple[str, str]:
    """(the task that answered, the client address that it saw)"""
    client = await connect(inside, address, port)
    try:
        async with asyncio.timeout(5):
            answer = await asyncio.get_running_loop().sock_recv(client, 1000)
    finally:
        client.close()
    task, seen = answer.decode().split()
    return task, seen


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until it holds; for what other processes do in their own time."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


def start_container(engine: Engine, task: AssignedTask, plan: SandboxPlan) -> ContainerState:
    """What the engine adapter does with the plan, by the command line."""
    first, *others = plan.networks
    flags = ["--name", task.name, "--network", first.name]
    flags += ["--ip", first.address] if first.address else []
    for path, at in plan.binds:
        flags += ["-v", f"{path}:{at}:ro"]
    engine.docker("create", *flags, IMAGE, "sleep", "1000")
    for other in others:
        engine.docker("network", "connect", *(["--ip", other.address] if other.address else []), other.name, task.name)
    engine.docker("start", task.name)
    return state_of(engine, task.name)


def state_of(engine: Engine, name: str) -> ContainerState:
    pid, addresses = engine.facts(name)
    return ContainerState(id=name, name=name, running=True, pid=pid, addresses=addresses)


class Machines:
    """Hosts at 10.99.0.1 and up with their engines: made once for a module, since engines take long to come and go."""

    def __init__(self, lab: Lab, folder: Path, hosts: int) -> None:
        self.lab = lab
        self.folder = folder
        self.hosts = [lab.host(f"h{number}", f"10.99.0.{number}/24") for number in range(1, hosts + 1)]
        self.engines = at_once(lambda host: host.engine(folder / host.name), self.hosts)
        at_once(Engine.import_image, self.engines)


@contextmanager
def machines(tag: str, folder: Path, hosts: int) -> Iterator[Machines]:
    with Lab(tag) as lab:
        yield Machines(lab, folder, hosts)


@asynccontextmanager
async def rig(there: Machines, folder: Path, *, unlinked: Sequence[int] = ()) -> AsyncIterator[Rig]:
    """Planes on the machines, in userspace on those of these numbers, and nothing left of them afterwards."""
    nodes = []
    for number, (host, engine) in enumerate(zip(there.hosts, there.engines, strict=True), 1):
        home = folder / f"n{number}"
        home.mkdir()
        (home / "resolv.conf").write_text("")
        nodes.append(Node(host, engine, number, home, linked=number not in unlinked))
        await nodes[-1].start()
    cluster = Rig(nodes, there.lab)
    try:
        yield cluster
    finally:
        await cluster.close()
        await asyncio.gather(*(asyncio.to_thread(node.engine.remove_containers) for node in nodes))
        for node in nodes:
            await node.plane.clear()
            await node.stop()
        for name in set(there.lab.hosts) - {f"h{number}" for number in range(1, len(nodes) + 1)}:
            there.lab.remove(name)
