"""1 ADMIT: from a command and the latest snapshot to the changes that do it, or a refusal in Docker's words. Pure.

A retry of a request that is done (same id of what was to be created, same request id of an update) is answered again, not refused.
"""

from typing import assert_never

from cluster.api.commands import (
    AttachGuest,
    Command,
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    DetachGuest,
    RebalanceService,
    RemoveConfig,
    RemoveNetwork,
    RemoveNode,
    RemoveSecret,
    RemoveService,
    UpdateCluster,
    UpdateConfigObject,
    UpdateNode,
    UpdateSecret,
    UpdateService,
)
from cluster.api.ids import Id
from cluster.api.states import Kind
from manager.controlapi import clusters, configs, guests, networks, nodes, secrets, services
from manager.controlapi.admission import Admission
from manager.store.snapshot import Snapshot


def admit(now: Snapshot, command: Command) -> Admission:
    """Raises a cluster.api.errors class for what Docker would refuse."""
    done = _done(now, command)
    return Admission(id=done) if done is not None else _admit(now, command)


def _done(now: Snapshot, command: Command) -> Id | None:
    match command:
        case CreateService():
            return _created(now, Kind.SERVICE, command.id)
        case CreateNetwork():
            return _created(now, Kind.NETWORK, command.id)
        case CreateSecret():
            return _created(now, Kind.SECRET, command.id)
        case CreateConfig():
            return _created(now, Kind.CONFIG, command.id)
        case UpdateService() | RebalanceService() | UpdateNode() | UpdateSecret() | UpdateConfigObject() | UpdateCluster():
            return now.request(command.request_id)
        case AttachGuest() | DetachGuest():
            return None  # what there is says so itself
        case RemoveService() | RemoveNode() | RemoveNetwork() | RemoveSecret() | RemoveConfig():
            return now.request(command.id)
        case _:
            assert_never(command)


def _created(now: Snapshot, kind: Kind, object_id: Id) -> Id | None:
    """It is there, or was and has been removed since: the removal is remembered under the same id, and must not be undone by a retry."""
    return object_id if now.get(kind, object_id) is not None else now.request(object_id)


def _admit(now: Snapshot, command: Command) -> Admission:  # noqa: C901, PLR0912 - one line a command
    match command:
        case CreateService():
            return services.create(now, command)
        case UpdateService():
            return services.update(now, command)
        case RemoveService():
            return services.remove(now, command)
        case RebalanceService():
            return services.rebalance(now, command)
        case UpdateNode():
            return nodes.update(now, command)
        case RemoveNode():
            return nodes.remove(now, command)
        case CreateNetwork():
            return networks.create(now, command)
        case RemoveNetwork():
            return networks.remove(now, command)
        case CreateSecret():
            return secrets.create(now, command)
        case UpdateSecret():
            return secrets.update(now, command)
        case RemoveSecret():
            return secrets.remove(now, command)
        case CreateConfig():
            return configs.create(now, command)
        case UpdateConfigObject():
            return configs.update(now, command)
        case RemoveConfig():
            return configs.remove(now, command)
        case UpdateCluster():
            return clusters.update(now, command)
        case AttachGuest():
            return guests.attach(now, command)
        case DetachGuest():
            return guests.detach(now, command)
        case _:
            assert_never(command)
