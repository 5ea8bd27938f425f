"""`swarm init`: draws what a new cluster begins with and writes it, so that a crash midway leaves no half cluster.

The first log entries are written before the node's facts are; a state folder without facts is outside any swarm.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network

from msgspec import Struct

from cluster.api.changes import ChangeSet, encode_entry
from cluster.api.errors import InvalidArgument
from cluster.api.features import LEVEL
from cluster.api.specs import SECOND
from cluster.api.states import Availability, Role
from cluster.rpc.identity import Identity, new_csr, new_key
from manager.ca.authority import issue, make_root
from manager.ca.founding import Founding, founding_changes
from manager.raft.core.membership import Member, MemberId
from manager.raft.driver import bootstrap
from manager.raft.opening import open_storage
from node_agent import machine
from node_agent.api.backend import InitRequest
from node_agent.keylock import unlock_key
from node_agent.state import NodeFacts, StateFolder


class Founded(Struct, frozen=True, kw_only=True):
    facts: NodeFacts
    identity: Identity
    founding: Founding
    at: int
    """Wall clock, ns."""


def found(
    request: InitRequest,
    *,
    listen: str,
    advertise: str,
    data_path: str,
    subnets: tuple[str, ...],
    now: int,
    feature_level: int = LEVEL,
) -> Founded:
    """Decide on a new cluster; `subnets` are the networks that this host is on. Raises InvalidArgument."""
    if request.availability not in {"", *(one.value for one in Availability)}:
        raise InvalidArgument(f"invalid Availability: {request.availability!r}: use active, pause or drain")
    port = request.data_path_port or 4789
    if not 1024 <= port <= 49151:
        raise InvalidArgument(f"invalid Datapath Port Number (use 1024-49151): {port}")
    pools, subnet_size = address_pools(request.default_addr_pool, request.subnet_size)
    cluster_id, node_id = machine.draw_id(), machine.draw_id()
    root = make_root(new_key(), cluster_id=cluster_id, now=now / SECOND, serial=machine.draw_serial())
    key = new_key()
    certificate = issue(
        root,
        new_csr(key),
        node_id=node_id,
        role=Role.MANAGER,
        cluster_id=cluster_id,
        now=now / SECOND,
        lifetime=request.spec.ca_config.node_cert_expiry / SECOND,
        serial=machine.draw_serial(),
    )
    return Founded(
        facts=NodeFacts(
            node_id=node_id,
            cluster_id=cluster_id,
            listen_addr=listen,
            advertise_addr=advertise,
            data_path_addr=data_path,
            data_path_port=port,
        ),
        identity=Identity(key=key, certificate=certificate, roots=root.certificate),
        founding=Founding(
            cluster_id=cluster_id,
            node_id=node_id,
            ingress_id=machine.draw_id(),
            root=root,
            worker_secret=machine.draw_secret(),
            manager_secret=machine.draw_secret(),
            unlock_key=unlock_key(machine.draw_key()) if request.spec.encryption_config.auto_lock_managers else "",
            addr=advertise,
            data_path_addr=data_path,
            spec=request.spec,
            availability=Availability(request.availability or "active"),
            default_addr_pool=pools,
            subnet_size=subnet_size,
            data_path_port=port,
            subnets=subnets,
            feature_level=feature_level,
        ),
        at=now,
    )


def address_pools(pools: Sequence[str], size: int) -> tuple[tuple[str, ...], int]:
    """Where the subnets of networks come from, and how long their prefix is. Raises InvalidArgument for what no network could use."""
    size = size or 24
    if not 8 <= size <= 29:
        raise InvalidArgument(f"subnet size is out of range: {size}: use a prefix length of 8 to 29")
    found: list[IPv4Network] = []
    for text in pools or ("10.0.0.0/8",):
        try:
            pool = IPv4Network(text, strict=False)
        except ValueError as wrong:
            raise InvalidArgument(f"invalid base pool {text}: write an IPv4 network such as 10.20.0.0/16") from wrong
        if pool.prefixlen > size:
            raise InvalidArgument(f"invalid base pool {text}: it is smaller than the subnets that are to be cut from it (/{size})")
        if meets := [one for one in found if one.overlaps(pool)]:
            raise InvalidArgument(f"invalid base pool {text}: it overlaps with {meets[0]}")
        found.append(pool)
    return tuple(str(pool) for pool in found), size


def write_founding(state: StateFolder, founded: Founded) -> None:
    """The log, the identity, and last the facts that make it count. Blocks."""
    node = founded.facts
    storage = open_storage(state.raft, key=state.data_key(machine.draw_key()), cluster=node.cluster_id)
    try:
        entry = ChangeSet(at=founded.at, changes=tuple(founding_changes(founded.founding)))
        bootstrap(storage, [Member(id=MemberId(node.node_id), address=node.advertise_addr)], [encode_entry(entry)])
    finally:
        storage.close()
    state.save_identity(founded.identity)
    if founded.founding.unlock_key:
        state.lock(founded.founding.unlock_key)
    state.save(node)
