"""The cluster object: settings and join tokens. Pure."""

from msgspec.structs import replace

from cluster.api.changes import Put, Remember
from cluster.api.commands import UpdateCluster
from cluster.api.errors import InvalidArgument, NotFound, OutOfSequence
from cluster.api.objects import Cluster, JoinTokens, RootRotation
from cluster.api.specs import ClusterSpec
from cluster.rpc.tokens import JoinToken, ca_digest
from manager.controlapi.admission import Admission
from manager.controlapi.validate_names import check_labels
from manager.store.snapshot import Snapshot

REBALANCE = "io.shoal.rebalance"
"""How many tasks at a time move to a node that joins, of services that do not say so themselves."""

_HOUR = 3600 * 1_000_000_000


def update(now: Snapshot, command: UpdateCluster) -> Admission:
    present = now.cluster
    if present is None:
        raise NotFound("this swarm has no cluster object yet")
    if command.version < present.spec_version:
        raise OutOfSequence("swarm")
    _check_spec(present.spec, command.spec)
    put = replace(present, spec=_kept(command.spec), join_tokens=_tokens(present, command), unlock_key=_unlock_key(present, command))
    if command.rotation is not None:
        if command.rotation_base != present.version:
            raise OutOfSequence("swarm")
        put = _rotating(put, command.rotation)
    return Admission(id=put.id, changes=(Put(object=put, base=present.version), Remember(request_id=command.request_id, object_id=put.id)))


def _tokens(present: Cluster, command: UpdateCluster) -> JoinTokens:
    tokens = present.join_tokens
    return JoinTokens(
        worker=_rotated(tokens.worker, command.rotate_worker_token), manager=_rotated(tokens.manager, command.rotate_manager_token)
    )


def _kept(spec: ClusterSpec) -> ClusterSpec:
    """A root that was given is in the rotation; a key is not to lie in a spec that is shown."""
    return replace(spec, ca_config=replace(spec.ca_config, signing_ca_cert="", signing_ca_key=""))


def _rotating(put: Cluster, rotation: RootRotation) -> Cluster:
    """From now on newcomers hold the new root against their token; the old tokens work for as long as the old root is trusted."""
    digest, tokens = ca_digest(rotation.cert), put.join_tokens
    return replace(
        put,
        root_rotation=rotation,
        root_rotation_in_progress=True,
        last_forced_rotation=put.spec.ca_config.force_rotate,
        join_tokens=JoinTokens(worker=_of_root(tokens.worker, digest), manager=_of_root(tokens.manager, digest)),
    )


def _of_root(token: str, digest: str) -> str:
    return str(JoinToken(digest, token.rpartition("-")[2]))


def _unlock_key(present: Cluster, command: UpdateCluster) -> str:
    """Empty without autolock: turning it on again gives another key."""
    if not command.spec.encryption_config.auto_lock_managers:
        return ""
    return command.unlock_key if command.rotate_unlock_key or not present.unlock_key else present.unlock_key


def _rotated(token: str, secret: str) -> str:
    """The same cluster's token with another secret: `SWMTKN-1-<digest>-<secret>`."""
    return f"{token.rpartition('-')[0]}-{secret}" if secret else token


def _check_labels(wanted: ClusterSpec) -> None:
    check_labels(wanted.labels)
    rebalance = wanted.labels.get(REBALANCE, "0")
    if not (rebalance.isascii() and rebalance.isdigit()):
        raise InvalidArgument(f"label {REBALANCE}: {rebalance!r} is no number; it is how many tasks of a service may move at a time")


def _check_spec(present: ClusterSpec, wanted: ClusterSpec) -> None:
    if wanted.name != present.name:
        raise InvalidArgument(f"the swarm's name cannot be changed from {present.name!r} to {wanted.name!r}")
    _check_labels(wanted)
    if wanted.orchestration.task_history_retention_limit < 0:
        raise InvalidArgument("task history retention limit cannot be negative")
    if wanted.dispatcher.heartbeat_period <= 0:
        raise InvalidArgument("heartbeat time period cannot be a negative duration")
    if wanted.ca_config.node_cert_expiry < _HOUR:
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")
    if wanted.raft.snapshot_interval <= 0 or wanted.raft.log_entries_for_slow_followers < 0:
        raise InvalidArgument("snapshot interval must be positive, and log entries for slow followers not negative")
    if wanted.raft.heartbeat_tick <= 0 or wanted.raft.election_tick <= wanted.raft.heartbeat_tick:
        raise InvalidArgument("election tick must be greater than heartbeat tick, and both positive")
    for external in wanted.ca_config.external_cas:
        if external.protocol.lower() != "cfssl":
            raise InvalidArgument(f"external CA {external.url!r}: the only protocol is cfssl, not {external.protocol!r}")
        if not external.url.startswith("https://"):
            raise InvalidArgument(f"external CA {external.url!r}: the URL must begin with https://")
