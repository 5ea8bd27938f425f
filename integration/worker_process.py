"""A daemon with nothing but a worker in it: python -m integration.worker_process ENGINE FOLDER < assignments > statuses

Each line in is base64 of an Assignments message, each line out is JSON of a reported status. Made to be killed with -9.
"""

import asyncio
import base64
import sys
from pathlib import Path
from random import Random

import msgspec

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import Assignments
from worker.dependencies import Dependencies
from worker.engine.docker import DockerEngine
from worker.journal import Journal
from worker.memory_sandbox import MemorySandbox
from worker.plan import HostFacts
from worker.reporter import Reporter
from worker.tmpfs import ensure_tmpfs
from worker.worker import Worker, WorkerPorts

HOST = HostFacts(node_id="node1", cluster_id="c1", hostname="h1", architecture="x86_64")


def build(address: str, folder: Path) -> tuple[Worker, Reporter, DockerEngine, MemorySandbox]:
    clock = SystemClock()
    ensure_tmpfs(folder / "secrets")
    engine = DockerEngine(address, clock=clock)
    reporter = Reporter(clock)
    sandbox = MemorySandbox()
    ports = WorkerPorts(
        engine=engine,
        sandbox=sandbox,
        journal=Journal(folder / "worker", node_id=HOST.node_id, cluster_id=HOST.cluster_id, clock=clock),
        dependencies=Dependencies(folder / "secrets"),
        reporter=reporter,
        clock=clock,
        rng=Random(1),
    )
    return Worker(HOST, ports, cores=2), reporter, engine, sandbox


async def main(address: str, folder: Path) -> None:
    worker, reporter, engine, _ = build(address, folder)

    async def report() -> None:
        async for message in reporter.messages():
            for one in message.statuses:
                sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
            sys.stdout.flush()
            reporter.taken(message.sequence)

    async def take() -> None:
        reader = asyncio.StreamReader(limit=1 << 22)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            worker.assign(msgspec.msgpack.decode(base64.b64decode(line), type=Assignments))

    try:
        async with background(worker.run, report):
            await first_of(take)
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
