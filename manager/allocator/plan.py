"""4 EQUIP: numbers for nodes, subnets for networks, addresses and ports for services and tasks. Pure; see docs/design/allocation.md.

A task leaves this stage PENDING, with its addresses; what cannot be given is said, on the service and on the task. Addresses and
ports are free again when `store.apply` sees their holder end or go: what is taken is an index of the snapshot.
"""

from collections.abc import Iterable, Mapping

from msgspec import UNSET, Struct
from msgspec.structs import replace

from cluster.api.changes import Change, Put, TaskChange
from cluster.api.ids import Id
from cluster.api.objects import Attachment, Cluster, Network, Task, TaskStatus
from cluster.api.states import Kind, TaskState
from manager.allocator import numbers, subnets
from manager.allocator.addresses import gateway_of, ipam
from manager.allocator.desk import Desk, attached
from manager.allocator.endpoints import Lacking, endpoint_of, unready, wants_nothing
from manager.store.snapshot import Snapshot

FIRST_VNI = 4097
LAST_VNI = (1 << 24) - 1

CHANGES_A_ROUND = 500

NOTHING_YET: Mapping[Id, int] = {}


class Work(Struct, frozen=True, kw_only=True, gc=False):
    """What to look at; whatever of it needs nothing is passed over."""

    nodes: tuple[Id, ...] = ()
    networks: tuple[Id, ...] = ()
    services: tuple[Id, ...] = ()
    tasks: tuple[Id, ...] = ()


class Equipped(Struct, frozen=True, kw_only=True, gc=False):
    """What a round came to."""

    changes: list[Change]
    waiting: list[tuple[Kind, Id]]
    """What could not be given: to be tried again when something is freed or changed."""
    again: list[tuple[Kind, Id]]
    """What the round did not get to."""
    last: dict[Id, int]
    """Per network the offset given last."""


def everything(now: Snapshot) -> Work:
    """All that could lack something: the sweep."""
    return Work(
        nodes=tuple(sorted(now.nodes)),
        networks=tuple(sorted(now.networks)),
        services=tuple(sorted(now.services)),
        tasks=tuple(sorted(now.tasks_by_state(TaskState.NEW))),
    )


def plan(now: Snapshot, work: Work | None = None, *, last: Mapping[Id, int] = NOTHING_YET, limit: int = CHANGES_A_ROUND) -> Equipped:
    """Give what is lacking, in the order in which one thing needs the other."""
    round_ = _Round(now, last, limit)
    work = everything(now) if work is None else work
    round_.changes += numbers.plan(now, work.nodes)
    round_.equip_networks(work.networks)
    for service_id in work.services:
        round_.equip_service(service_id)
    for task_id in work.tasks:
        round_.equip_task(task_id)
    return Equipped(changes=round_.changes, waiting=round_.waiting, again=round_.again, last=round_.desk.last)


class _Round:
    def __init__(self, now: Snapshot, last: Mapping[Id, int], limit: int) -> None:
        self.desk = Desk(now, last)
        self.changes: list[Change] = []
        self.waiting: list[tuple[Kind, Id]] = []
        self.again: list[tuple[Kind, Id]] = []
        self._now = now
        self._limit = limit
        self._ready: dict[Id, str] = {}

    def _full(self, kind: Kind, object_id: Id) -> bool:
        if len(self.changes) < self._limit:
            return False
        self.again.append((kind, object_id))
        return True

    # -- networks ------------------------------------------------------------------------------------------------------------------
    def equip_networks(self, network_ids: Iterable[Id]) -> None:
        bare = [network for network_id in network_ids if (network := self._now.networks.get(network_id)) is not None and not network.subnet]
        if not bare:
            return
        cluster = self._now.cluster or Cluster(id="")
        spans = subnets.in_use(self._now)
        vnis = {network.vni for network in self._now.networks.values()}
        for network in sorted(bare, key=lambda one: (not one.spec.ingress, one.created_at, one.id)):
            if self._full(Kind.NETWORK, network.id):
                continue
            given = _with_subnet(network, cluster, subnets.Blocked(spans))
            if given.subnet:
                vni = network.vni or next(vni for vni in range(FIRST_VNI, LAST_VNI + 1) if vni not in vnis)
                vnis.add(vni)
                given = replace(given, vni=vni)
                spans += subnets.of_networks([given])
            else:
                self.waiting.append((Kind.NETWORK, network.id))
            if given != network:
                self.changes.append(Put(object=given, base=network.version))
                self.desk.equipped_network(given)

    # -- services ------------------------------------------------------------------------------------------------------------------
    def equip_service(self, service_id: Id) -> None:
        service = self._now.services.get(service_id)
        if service is None or self._full(Kind.SERVICE, service_id):
            return
        given = service
        try:
            endpoint = None if wants_nothing(service) else endpoint_of(service, self.desk)
            given = replace(service, endpoint=endpoint, pending_reason="")
        except Lacking as lacking:
            given = replace(service, pending_reason=str(lacking))
            self.waiting.append((Kind.SERVICE, service_id))
        if given != service:
            self.changes.append(Put(object=replace(given, history=()), base=service.version))
            self.desk.equipped_service(given)
        self._ready[service_id] = given.pending_reason

    # -- tasks ---------------------------------------------------------------------------------------------------------------------
    def equip_task(self, task_id: Id) -> None:
        task = self._now.tasks.get(task_id)
        if task is None or task.state is not TaskState.NEW or task.desired_state > TaskState.COMPLETE:
            return
        if self._full(Kind.TASK, task_id):
            return
        service = self.desk.service(task.service_id)
        if service is None:
            return  # its tasks are about to be removed
        if service.id not in self._ready:
            self.equip_service(service.id)
        reason = self._ready.get(service.id, "")
        attachments: tuple[Attachment, ...] = ()
        if not reason:
            attachments, reason = self._attach(task)
        if reason:
            self.waiting.append((Kind.TASK, task_id))
            if task.status.err != reason:
                status = replace(task.status, timestamp=0, message="waiting for network resources", err=reason)
                self.changes.append(TaskChange(id=task_id, status=status))
            return
        status = TaskStatus(state=TaskState.PENDING, message="pending task scheduling")
        self.changes.append(TaskChange(id=task_id, status=status, attachments=attachments or UNSET))

    def _attach(self, task: Task) -> tuple[tuple[Attachment, ...], str]:
        """An address on each network of the task's template; or why there is none."""
        found = []
        for network in attached(self._now.template_of(task).spec):
            pool = self.desk.pool(network.target)
            if pool is None:
                return (), unready(network.target, self.desk)
            held = next((one for one in task.attachments if one.network_id == network.target and one.address), None)
            address = pool.take() if held is None else held.address
            if address is None:
                return (), pool.exhausted
            found.append(Attachment(network_id=network.target, address=address, aliases=network.aliases))
        return tuple(found), ""


def _with_subnet(network: Network, cluster: Cluster, blocked: subnets.Blocked) -> Network:
    """The network with its subnet and gateway, or with the reason why it has none."""
    wished = ipam(network).subnet
    prefix = min(cluster.subnet_size, subnets.NODE_LINK) if network.spec.ingress else cluster.subnet_size
    if wished:
        subnet = subnets.parsed(wished)
        if subnet is None:
            return replace(network, pending_reason=f"subnet {wished} is not an IPv4 subnet")
        if blocked.meeting(*subnets.span(subnet)) is not None:
            return replace(network, pending_reason=f"subnet {wished} meets another network, or a network of a node")
    else:
        subnet = subnets.choose(cluster.default_addr_pool, prefix, blocked)
        if subnet is None:
            pools = ", ".join(cluster.default_addr_pool)
            return replace(network, pending_reason=f"no free /{prefix} in {pools} that meets no network of the cluster or of a node")
    return replace(network, subnet=str(subnet), gateway=gateway_of(network, subnet), pending_reason="")
