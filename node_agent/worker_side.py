"""The worker half of a node: every node has one, managers too."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.rpc.identity import Identity
from cluster.rpc.pool import Remotes
from node_agent import machine
from node_agent.addresses import split_port
from node_agent.described import Described
from node_agent.guests import GuestHouse
from node_agent.manager_link import ask_leader, conversation_line, log_line, session_line
from node_agent.network.data_plane import DataPlane
from node_agent.network.silence import IcmpEcho, Silence
from node_agent.parts import NodeParts
from node_agent.state import NodeFacts
from worker.conversations import Conversations
from worker.dependencies import Dependencies
from worker.journal import Journal
from worker.logs import LogReader
from worker.plan import HostFacts
from worker.reporter import Reporter
from worker.session import Listener, Session, SessionSettings
from worker.tmpfs import ensure_tmpfs
from worker.worker import Worker, WorkerPorts

ASK_WITHIN = 10.0
"""Seconds that the leader has to answer."""


class WorkerSide(Struct, frozen=True, kw_only=True):
    worker: Worker
    session: Session
    plane: DataPlane
    logs: LogReader
    conversations: Conversations
    guests: GuestHouse


@asynccontextmanager
async def working(
    parts: NodeParts, node: NodeFacts, *, identity: Latest[Identity], listener: Listener, remotes: Remotes, availability: str
) -> AsyncIterator[WorkerSide]:
    """A running worker with its session and data plane, for as long as the block runs; containers outlive it."""
    described = Described(parts.inventory.description, identity)
    description = described.value
    host = HostFacts(
        node_id=node.node_id,
        cluster_id=node.cluster_id,
        hostname=description.value.hostname,
        architecture=description.value.platform.architecture,
        socket=parts.socket,
    )
    secrets = parts.runtime / "secrets"
    ensure_tmpfs(secrets)
    journal = Journal(parts.state.root / "worker", node_id=node.node_id, cluster_id=node.cluster_id, clock=parts.clock)
    reporter = Reporter(parts.clock)
    plane = parts.data_plane.plane(
        node_id=node.node_id,
        runtime=parts.runtime / "network",
        engine=parts.networks,
        clock=parts.clock,
        on_trouble=parts.inventory.say,
    )
    try:
        async with plane:
            ports = WorkerPorts(
                engine=parts.engine,
                sandbox=plane,
                journal=journal,
                dependencies=Dependencies(secrets),
                reporter=reporter,
                clock=parts.clock,
                rng=parts.rng,
            )
            worker = Worker(host, ports, cores=os.cpu_count() or 1)
            settings = SessionSettings(
                addr=split_port(node.advertise_addr)[0], data_path_addr=node.data_path_addr, availability=availability
            )
            session = Session(
                worker,
                reporter,
                listener,
                connect=session_line(remotes),
                managers=node.managers,
                description=description,
                settings=settings,
                clock=parts.clock,
                rng=parts.rng,
            )
            logs = LogReader(
                parts.engine, container_of=worker.container_of, ended=worker.ended, publish=log_line(remotes), clock=parts.clock
            )
            conversations = Conversations(
                container_of=worker.container_of, door=parts.door, call=conversation_line(remotes), clock=parts.clock
            )

            async def ask(method: Any, request: Any) -> Any:
                return await ask_leader(remotes, session.managers, method, request, timeout=ASK_WITHIN)

            guests = GuestHouse(plane, parts.networks, node_id=node.node_id, ask=ask, clock=parts.clock, draw_id=machine.draw_id)
            silence = Silence(plane, session.manager, IcmpEcho(parts.clock), node_id=node.node_id, clock=parts.clock)
            streams = (logs.run, conversations.run)
            async with background(described.run, plane.run, worker.run, *streams, guests.run, silence.run, session.run):
                yield WorkerSide(worker=worker, session=session, plane=plane, logs=logs, conversations=conversations, guests=guests)
    finally:
        journal.close()
