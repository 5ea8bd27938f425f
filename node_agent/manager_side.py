"""The manager half of a node, built and run while its certificate says manager."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.assignment import ManagerAddr
from cluster.api.contracts import MemberRequest, Membership
from cluster.api.errors import Conflict, NodeRemoved, ShoalError
from cluster.rpc.bootstrap import BootstrapServer, bootstrap_address
from cluster.rpc.identity import Identity
from cluster.rpc.pool import Remotes
from cluster.rpc.server import RpcServer
from manager.ca.external import CfsslSigner
from manager.manager import Manager, ManagerParts
from manager.raft.core.membership import MemberId
from manager.raft.driver import Raft
from manager.raft.errors import LogLost
from manager.raft.opening import open_storage
from manager.raft.proposer import StoreMachine
from manager.raft.transport import PeerStreams
from manager.store.store import Store
from node_agent import machine
from node_agent.key_keeper import KeyKeeper
from node_agent.manager_link import ask_leader, raft_dial
from node_agent.member import Member
from node_agent.parts import NodeParts
from node_agent.state import NodeFacts, StateFolder

log = logging.getLogger(__name__)

_ASK_WITHIN = 10.0

Managers = Callable[[], Sequence[ManagerAddr]]


@asynccontextmanager
async def managing(
    parts: NodeParts,
    node: NodeFacts,
    *,
    identity: Latest[Identity],
    remotes: Remotes,
    managers: Managers,
    fenced: Callable[[str], None],
) -> AsyncIterator[Manager]:
    """A running manager, for as long as the block runs. Raises StorageDamaged with instructions, Conflict for a port that is taken,
    LogLost while another manager would have to count this one out first.

    `fenced` is told where a manager is that says that the swarm went on without us.
    """
    if parts.state.has_lost_log:
        await _be_counted_out(parts.state, node, remotes, managers())
    key = parts.state.data_key(machine.draw_key())
    storage = await asyncio.to_thread(open_storage, parts.state.raft, key=key, cluster=node.cluster_id)
    parts.state.log_begins()
    store = Store()
    peers = PeerStreams(raft_dial(remotes, fenced), rng=parts.rng)
    raft = Raft(
        MemberId(node.node_id),
        node.advertise_addr,
        storage=storage,
        machine=StoreMachine(store, level=parts.feature_level),
        transport=peers,
        rng=parts.rng,
    )
    peers.report_drops_to(raft.unreachable)
    manager = Manager(
        ManagerParts(
            node_id=node.node_id,
            addr=node.advertise_addr,
            raft=raft,
            peers=peers,
            store=store,
            remotes=remotes,
            clock=parts.clock,
            rng=parts.rng,
            draw_id=machine.draw_id,
            serial=machine.draw_serial,
            draw_key=machine.draw_key,
            rotate_keys_after=parts.rotate_keys_after,
            signer=CfsslSigner(lambda: identity.value),
        )
    )
    server = RpcServer(identity=lambda: identity.value, cluster_id=node.cluster_id, authorize=manager.authorize)
    manager.offer(server)
    bootstrap = BootstrapServer(identity=lambda: identity.value, admit=manager.admit, clock=parts.clock)
    member = Member(
        raft,
        address=node.advertise_addr,
        ask=lambda request: ask_leader(remotes, managers(), Membership.join, request, timeout=10),
        clock=parts.clock,
        feature_level=parts.feature_level,
    )
    keeper = KeyKeeper(parts.state, store, read=manager.read, clock=parts.clock)
    try:
        try:
            await server.start(node.listen_addr)
            await bootstrap.start(*bootstrap_address(node.listen_addr))
        except OSError as taken:
            raise Conflict(str(taken)) from taken
        async with background(manager.run, member.run, keeper.run, lambda: _present(bootstrap, identity)):
            yield manager
    finally:
        await bootstrap.stop()
        await server.stop(0.5)
        await asyncio.to_thread(storage.close)


async def _be_counted_out(state: StateFolder, node: NodeFacts, remotes: Remotes, managers: Sequence[ManagerAddr]) -> None:
    """Until the leader has removed this member it must promise nothing, be it a vote or an entry. Raises LogLost, NodeRemoved."""
    others = [manager for manager in managers if manager.node_id != node.node_id]
    try:
        async with asyncio.timeout(_ASK_WITHIN):
            answer = await ask_leader(remotes, others, Membership.join, MemberRequest(addr=node.advertise_addr, log_lost=True), timeout=5)
    except NodeRemoved:
        raise
    except (ShoalError, TimeoutError) as failed:
        raise LogLost(state.raft, str(failed) or "no answer") from failed
    if node.node_id in answer.members:
        raise LogLost(state.raft, "its version is older and cannot do that")
    log.warning("the log of this manager was gone from %s: it was counted out, and begins anew", state.raft)
    await asyncio.to_thread(state.begin_log_anew)


async def _present(bootstrap: BootstrapServer, identity: Latest[Identity]) -> None:
    """Joining nodes are shown the present certificate."""
    async for _ in identity.values():
        bootstrap.reload()
