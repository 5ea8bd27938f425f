"""What this node is told to run, put together from the messages of a session. Pure.

A COMPLETE set replaces everything; a step applies to exactly one version. Whoever sent a step that does not fit what is here and
now has another idea of what this node has: the way out is a new session, which opens with a COMPLETE set.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask, Assignments
from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from cluster.api.values import Value


class OutOfStep(Exception):
    """The message does not continue what is here; ask for a new session."""

    def __init__(self, *, has: int, applies_to: int) -> None:
        super().__init__(f"assignments for version {applies_to} do not fit version {has}; a new session sends them all")
        self.has, self.applies_to = has, applies_to


class AssignmentSet(Value, frozen=True, kw_only=True):
    """All that the node is told to have, as of one version."""

    version: int = 0
    synced: bool = False
    """A COMPLETE set came since this daemon started: only now does what is not named have to go."""
    tasks: Mapping[Id, AssignedTask] = {}
    secrets: Mapping[Id, AssignedSecret] = {}
    configs: Mapping[Id, AssignedConfig] = {}
    networks: Mapping[Id, OverlayNetwork] = {}
    parts: tuple[Assignments, ...] = ()
    """The first parts of a message that is not all here."""


def applied(now: AssignmentSet, message: Assignments) -> AssignmentSet:
    """The set after this message. Raises OutOfStep."""
    if now.parts and (now.parts[0].version, now.parts[0].complete) != (message.version, message.complete):
        now = replace(now, parts=())  # the sender began anew
    first = now.parts[0] if now.parts else message
    if not first.complete and not (now.synced and first.applies_to == now.version):
        raise OutOfStep(has=now.version if now.synced else 0, applies_to=first.applies_to)
    parts = (*now.parts, message)
    if message.more:
        return replace(now, parts=parts)
    start = AssignmentSet(synced=True) if first.complete else now
    return _stepped(start, parts, version=message.version)


def _stepped(now: AssignmentSet, parts: tuple[Assignments, ...], *, version: int) -> AssignmentSet:
    tasks, secrets, configs, networks = dict(now.tasks), dict(now.secrets), dict(now.configs), dict(now.networks)
    for part in parts:
        tasks.update((task.id, task) for task in part.tasks)
        secrets.update((secret.id, secret) for secret in part.secrets)
        configs.update((config.id, config) for config in part.configs)
        networks.update((network.network_id, network) for network in part.networks)
    for part in parts:
        for table, gone in ((tasks, part.gone_tasks), (secrets, part.gone_secrets), (configs, part.gone_configs)):
            for gone_id in gone:
                table.pop(gone_id, None)
    used = {attachment.network_id for task in tasks.values() for attachment in task.attachments}
    return AssignmentSet(
        version=version,
        synced=True,
        tasks=tasks,
        secrets=secrets,
        configs=configs,
        networks={network_id: network for network_id, network in networks.items() if network_id in used},
    )
