"""Hundreds of nodes whose sessions all break at one moment: they come back, each once, and none is taken for lost meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.virtual import fill, ready_nodes, services
from cluster.api.contracts import AdmissionRequest, Admitted, Caller, CertificateRequest, IssuedCertificate, NodeCA
from cluster.api.errors import Forbidden
from cluster.api.ids import Id
from cluster.api.states import NodeState, Role, TaskState
from cluster.rpc.client import Remote, RpcError
from cluster.rpc.server import RpcServer
from integration.crowd_process import Seen
from integration.crowd_rig import CLUSTER, CrowdProcess, LoneLeader, crowd
from node_agent.machine import draw_id

pytestmark = pytest.mark.timeout(180)
NODES, SERVICES, TASKS = 250, 10, 50


async def wait_standing(workers: CrowdProcess, count: int, *, welcomes: int = 0) -> Seen:
    """All of them, by as many welcomes or more: what broke a moment ago may seem to stand."""
    async with asyncio.timeout(90):
        while (seen := await workers.seen()).standing < count or seen.welcomes < welcomes:
            await asyncio.sleep(0.1)
    return seen


async def wait_silence(workers: CrowdProcess) -> Seen:
    """Until they have been told everything."""
    before = await workers.seen()
    while True:
        await asyncio.sleep(0.5)
        if (seen := await workers.seen()).updates == before.updates:
            return seen
        before = seen


async def test_a_herd_of_nodes_comes_back_without_a_node_or_a_task_being_lost(tmp_path: Path) -> None:
    leader = LoneLeader(tmp_path)
    async with leader.leading():
        nodes = [draw_id() for _ in range(NODES)]
        await fill(leader.proposer, ready_nodes(nodes))
        async with crowd(leader, nodes, tmp_path) as workers:
            await wait_standing(workers, NODES)
            await fill(leader.proposer, services(SERVICES, tasks=TASKS))
            async with asyncio.timeout(60):
                async for now in leader.store.snapshots():
                    if len(now.tasks_by_state(TaskState.RUNNING)) == SERVICES * TASKS:
                        break
            tasks, lost = frozenset(leader.store.snapshot.tasks), set[Id]()
            before = await wait_silence(workers)
            async with watching(leader, nodes, lost):
                await leader.hang_up()
                await leader.listen()
                after = await wait_standing(workers, NODES, welcomes=before.welcomes + NODES)
            assert lost == set()
            assert frozenset(leader.store.snapshot.tasks) == tasks
            assert after.welcomes - before.welcomes <= 1.1 * NODES, after.failures
            assert after.tasks_told - before.tasks_told <= 0.1 * len(tasks), "what a node has it is not told again"


@asynccontextmanager
async def watching(leader: LoneLeader, nodes: list[Id], lost: set[Id]) -> AsyncIterator[None]:
    """Note which of the nodes are ever down meanwhile."""

    async def watch() -> None:
        async for now in leader.store.snapshots():
            lost.update(one for one in nodes if now.nodes[one].status.state is NodeState.DOWN)

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


class Desk:
    """Answers at once. Implements NodeCA."""

    async def admit(self, caller: Caller, request: AdmissionRequest) -> Admitted:
        raise Forbidden(f"{caller.node_id} is in")

    async def renew(self, caller: Caller, request: CertificateRequest) -> IssuedCertificate:
        return IssuedCertificate(certificate=caller.node_id + request.csr, roots="")


async def test_a_connection_that_is_slow_in_coming_is_there_for_the_next_try(tmp_path: Path) -> None:
    """Behind a crowd a handshake takes long. If each try began a new one, none would ever be done."""
    leader = LoneLeader(tmp_path)
    server = RpcServer(identity=lambda: leader.identity("m", Role.MANAGER), cluster_id=CLUSTER, authorize=lambda _: None)
    server.offer(NodeCA, Desk())
    port, accepted = await server.start("127.0.0.1:0"), 0

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await asyncio.sleep(2.5)
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, behind_writer), pipe(behind_reader, writer))

    async with await asyncio.start_server(slowly, "127.0.0.1", 0) as slow:
        address = f"127.0.0.1:{slow.sockets[0].getsockname()[1]}"
        async with Remote(address, leader.identity("n", Role.WORKER)) as remote:
            begun = time.monotonic()
            with pytest.raises(RpcError, match="cannot be reached within 1 s"):
                await remote.unary(NodeCA.renew, CertificateRequest(csr="x"), timeout=5)
            assert time.monotonic() - begun < 2, "another manager may be worth a try"
            answer = await remote.unary(NodeCA.renew, CertificateRequest(csr="x"), timeout=5)
            assert (answer.certificate, accepted) == ("nx", 1)
        await server.stop(0)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
