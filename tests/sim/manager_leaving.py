"""Machines that leave the swarm for good, by force if nobody answers, and come back as new nodes; operators forget who they were."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Protocol, TypeVar

from msgspec.structs import replace

from cluster.api.commands import RemoveNode, UpdateNode
from cluster.api.contracts import Membership, Taken
from cluster.api.errors import ShoalError
from cluster.api.ids import Id, from_bytes
from cluster.api.states import Role
from manager.manager import Manager
from node_agent.manager_link import ask_leader
from tests.sim.manager_clients import NoAnswer
from tests.sim.manager_host import Daemon, Host
from tests.sim.manager_tally import Tally

T = TypeVar("T")
ATTEMPTS = 120


class Swarm(Protocol):
    """Whose member leaves."""

    hosts: list[Host]
    tally: Tally

    async def ask(self, work: Callable[[Manager], Awaitable[T]], *, patience: float) -> T: ...

    def leader(self) -> Host | None: ...


def may_leave(hosts: list[Host], host: Host) -> bool:
    """Whether its loss for good leaves a majority: all are up and know the same members, of whom none is lost already."""
    if host.daemon is None or host.token is not None or any(other.daemon is None for other in hosts):
        return False
    known = [other.daemon.raft._core.state.log.membership for other in hosts if other.daemon is not None and other.daemon.raft is not None]
    if not known or any(one != known[0] for one in known) or lost(hosts):
        return False
    return host.id not in known[0].voters or len(known[0].voters) >= 3


def lost(hosts: list[Host]) -> set[str]:
    """Members, as far as anybody knows them, that no machine is any more."""
    rafts = [host.daemon.raft for host in hosts if host.daemon is not None and host.daemon.raft is not None]
    return {str(member.id) for raft in rafts for member in raft._core.state.log.membership.members} - {host.id for host in hosts}


async def leave(swarm: Swarm, host: Host, daemon: Daemon, *, rng: Random, told: bool) -> Id | None:
    """As `SwarmNode.leave` goes about it; without a word if the machine is just wiped. Which node that was; None if it stays."""
    if told and await _say_farewell(host, daemon):
        swarm.tally.nodes_left += 1
    elif may_leave(swarm.hosts, host):
        swarm.tally.nodes_lost_for_good += 1
    else:
        return None
    was = host.id
    host.begin_anew(from_bytes(rng.randbytes(16)), rng.choice(list(Role)))
    return was


async def _say_farewell(host: Host, daemon: Daemon) -> bool:
    try:
        if daemon.manager is not None:
            await daemon.manager.hand_over()
        others = [manager for manager in host.managers if manager.node_id != host.id]
        await ask_leader(daemon.remotes, others, Membership.leave, Taken(), timeout=5)
    except ShoalError:
        return False
    return True


async def forget(swarm: Swarm, node_id: Id, *, rng: Random) -> None:
    """Demote the node if nobody did, and remove it."""
    for _ in range(ATTEMPTS):
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        leader = swarm.leader()
        node = leader.manager.latest().nodes.get(node_id) if leader is not None and leader.manager is not None else None
        with suppress(NoAnswer, ShoalError):
            if node is not None and node.spec.role is Role.MANAGER:
                demoted = UpdateNode(
                    request_id=from_bytes(rng.randbytes(16)), id=node_id, version=node.version, spec=replace(node.spec, role=Role.WORKER)
                )
                await swarm.ask(lambda manager, order=demoted: manager.execute(order), patience=5.0)  # type: ignore[misc]
            elif node is not None and node.member is None:
                await swarm.ask(lambda manager: manager.execute(RemoveNode(id=node_id, force=True)), patience=5.0)
                swarm.tally.nodes_removed += 1
                return
