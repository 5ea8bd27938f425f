"""One log entry on one snapshot: applied whole, or refused with the reason. Pure and deterministic: every manager gets the same.

Apply owns what no proposer may get wrong: versions and times, unique names, states that only go forward, references that hold, the
templates that tasks are made from, and the indexes.
"""

from typing import assert_never

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Expect, ExpectPorts, Put, Remember, Remove, TaskChange
from cluster.api.ids import Id
from cluster.api.objects import (
    Cluster,
    Config,
    JobStatus,
    Network,
    Node,
    Object,
    PastSpec,
    Secret,
    Service,
    Task,
    TaskStatus,
    Template,
    UpdateStatus,
)
from cluster.api.specs import Extensions, ServiceSpec
from cluster.api.states import Kind
from manager.store.indexes import IndexDraft, TemplateKey, ports_of
from manager.store.snapshot import REMEMBERED, Snapshot, Step, remembered
from manager.store.tables import TableDraft

PLAIN = Extensions()
_size = msgspec.msgpack.Encoder()


class Refusal(Struct, frozen=True, gc=False):
    """The change set was decided on facts that no longer hold; nothing of it was applied."""

    text: str

    def __str__(self) -> str:
        return self.text


class Refused(Exception):
    """Ends the application of a set; never leaves this package."""


def apply(now: Snapshot, index: int, entry: ChangeSet) -> tuple[Snapshot, Refusal | None]:
    """The snapshot at `index`. A refused entry only moves the version on."""
    draft = Draft(now, index, entry.at)
    try:
        for change in entry.changes:
            draft.make(change)
        return draft.finish(), None
    except Refused as refused:
        return replace(now, version=index), Refusal(str(refused))


PAST_SPECS = 10
PAST_BYTES = 1024 * 1024
"""Of each service as many earlier specs are kept, and no more of them than fit here together."""


def template_from(spec: ServiceSpec, extensions: Extensions = PLAIN) -> Template:
    """What tasks of a service with this spec are made from."""
    ports = tuple(port for port in ports_of(spec) if port.publish_mode == "host")
    return Template(
        service_name=spec.name,
        service_labels=spec.labels,
        spec=spec.task_template,
        host_ports=ports,
        devices=extensions.devices,
        device_requests=extensions.device_requests,
    )


class Draft:
    """A snapshot being edited by one entry."""

    def __init__(self, now: Snapshot, index: int, at: int) -> None:
        self._now = now
        self._index = index
        self._at = at
        self._cluster = now.cluster
        self._nodes = TableDraft(now.nodes)
        self._services = TableDraft(now.services)
        self._tasks = TableDraft(now.tasks)
        self._networks = TableDraft(now.networks)
        self._secrets = TableDraft(now.secrets)
        self._configs = TableDraft(now.configs)
        self._templates = TableDraft(now.templates)
        self._template_versions = TableDraft(now.template_versions)
        self._requests = TableDraft(now.requests)
        self._request_order = TableDraft(now.request_order)
        self._requests_seen = now.requests_seen
        self._indexes = IndexDraft(now.indexes)
        self._touched: dict[Kind, set[Id]] = {}
        self._loosened: set[TemplateKey] = set()

    def make(self, change: Put | Remove | TaskChange | Remember | Expect | ExpectPorts) -> None:
        match change:
            case TaskChange():
                self._step_task(change)
            case Put():
                self._put(change.object, change.base)
            case Remove():
                self._remove(change)
            case Remember():
                self._remember(change)
            case Expect():
                self._expect(change.kind, change.id, change.base)
            case ExpectPorts():
                self._expect_ports(change)
            case _:
                assert_never(change)

    # -- tasks ---------------------------------------------------------------------------------------------------------------------
    def _step_task(self, change: TaskChange) -> None:
        task = self._tasks.get(change.id)
        if task is None:
            raise Refused(f"task {change.id} does not exist")
        desired = task.desired_state if change.desired_state is UNSET else change.desired_state
        status = task.status if change.status is UNSET else self._timed(change.status)
        node_id = task.node_id if change.node_id is UNSET else change.node_id
        if desired < task.desired_state:
            raise Refused(f"task {task.id} shall be {task.desired_state.wire} and cannot be wanted {desired.wire} again")
        if status.state < task.status.state:
            raise Refused(f"task {task.id} is {task.status.state.wire} and cannot become {status.state.wire}")
        if task.node_id and node_id != task.node_id:
            raise Refused(f"task {task.id} is on node {task.node_id} and cannot move to {node_id}")
        stepped = replace(
            task,
            version=self._index,
            updated_at=self._at,
            desired_state=desired,
            status=status,
            node_id=node_id,
            attachments=task.attachments if change.attachments is UNSET else change.attachments,
            resources=task.resources if change.resources is UNSET else change.resources,
        )
        self._tasks.set(task.id, stepped)
        self._indexes.task_stepped(task, stepped, self._template_of(task))
        self._touch(Kind.TASK, task.id)

    def _timed(self, status: TaskStatus) -> TaskStatus:
        """A status that the leader's own plans came to has the time of its entry."""
        return status if status.timestamp else replace(status, timestamp=self._at)

    def _put_task(self, before: Task | None, put: Task) -> None:
        template = self._templates.get((put.service_id, put.template_version))
        if template is None:
            raise Refused(f"task {put.id} is of template {put.template_version} of service {put.service_id}, which is not kept")
        if before is not None:
            if put.status.state < before.status.state or put.desired_state < before.desired_state:
                raise Refused(f"task {put.id} cannot go back from {before.status.state.wire}, wanted {before.desired_state.wire}")
            self._indexes.task_removed(before, self._template_of(before))
            self._loosened.add((before.service_id, before.template_version))
        self._tasks.set(put.id, put)
        self._indexes.task_added(put, template)

    def _template_of(self, task: Task) -> Template:
        template = self._templates.get((task.service_id, task.template_version))
        if template is None:
            raise KeyError(f"template {task.template_version} of service {task.service_id} is gone while task {task.id} needs it")
        return template

    # -- everything else -----------------------------------------------------------------------------------------------------------
    def _put(self, wanted: Object, base: int) -> None:
        kind = kind_of(wanted)
        before = self._present(kind, wanted.id)
        self._based(kind, wanted.id, base)
        created = self._at if before is None else before.created_at
        put = replace(wanted, version=self._index, created_at=created, updated_at=self._at)
        match put:
            case Task():
                self._put_task(before if isinstance(before, Task) else None, put)
            case Service():
                self._put_service(before if isinstance(before, Service) else None, put)
            case Network():
                if not put.leaving:
                    self._own_name(Kind.NETWORK, put.id, put.spec.name)
                self._indexes.network_changed(before if isinstance(before, Network) else None, put)
                self._networks.set(put.id, put)
            case Secret():
                self._own_name(kind, put.id, put.spec.name)
                self._indexes.secret_changed(before if isinstance(before, Secret) else None, put)
                self._secrets.set(put.id, put)
            case Config():
                self._own_name(kind, put.id, put.spec.name)
                self._indexes.config_changed(before if isinstance(before, Config) else None, put)
                self._configs.set(put.id, put)
            case Node():
                known = before.spec_version if isinstance(before, Node) and before.spec == put.spec else self._index
                self._nodes.set(put.id, replace(put, spec_version=known))
            case Cluster():
                self._put_cluster(put)
            case _:
                assert_never(put)
        self._touch(kind, put.id)

    def _put_cluster(self, put: Cluster) -> None:
        before = self._cluster
        if before is not None and before.id != put.id:
            raise Refused(f"the store holds cluster {before.id} and cannot take {put.id}")
        same = before is not None and before.spec == put.spec
        self._cluster = replace(put, spec_version=before.spec_version if same and before is not None else self._index)

    def _put_service(self, before: Service | None, put: Service) -> None:
        self._own_name(Kind.SERVICE, put.id, put.spec.name)
        same = before is not None and before.spec == put.spec
        put = replace(
            put,
            history=() if before is None else self._history(before, put),
            spec_version=before.spec_version if same and before is not None else self._index,
            template_version=self._keep_template(put),
            update_status=self._started(put.update_status),
            job_status=self._executed(before, put.job_status),
        )
        self._services.set(put.id, put)
        self._indexes.service_changed(before, put)

    def _history(self, before: Service, put: Service) -> tuple[PastSpec, ...]:
        """With what the service was until now; a change of the extensions alone is one, too."""
        if before.spec == put.spec and before.extensions == put.extensions:
            return before.history
        past = PastSpec(version=before.spec_version, at=self._at, spec=before.spec, extensions=before.extensions)
        if before.history and before.history[0].version == past.version:  # the same spec with other extensions: the first of them stays
            return before.history
        kept, room = [past], PAST_BYTES - len(_size.encode(past))
        for older in before.history[: PAST_SPECS - 1]:
            room -= len(_size.encode(older))
            if room < 0:
                break
            kept.append(older)
        return tuple(kept)

    def _started(self, status: UpdateStatus | None) -> UpdateStatus | None:
        return replace(status, started_at=self._at) if status is not None and not status.started_at else status

    def _executed(self, before: Service | None, status: JobStatus | None) -> JobStatus | None:
        """A new iteration of a job is executed at the time of this entry."""
        known = None if before is None else before.job_status
        if status is None or (known is not None and known.job_iteration == status.job_iteration):
            return status
        return replace(status, last_execution=self._at)

    def _keep_template(self, service: Service) -> int:
        """The version of the service's template: an equal one that is kept already, or this entry's index."""
        template = template_from(service.spec, service.extensions)
        versions = self._template_versions.get(service.id) or ()
        self._loosened |= {(service.id, version) for version in versions}
        for version in versions:
            if self._templates.get((service.id, version)) == template:
                return version
        self._templates.set((service.id, self._index), template)
        self._template_versions.set(service.id, (*versions, self._index))
        self._loosened.add((service.id, self._index))
        return self._index

    def _remove(self, change: Remove) -> None:
        gone = self._present(change.kind, change.id)
        self._expect(change.kind, change.id, change.base)
        if self._indexes.has_users((change.kind, change.id)):
            raise Refused(f"{change.kind} {change.id} is in use by a service")
        match gone:
            case Task():
                self._indexes.task_removed(gone, self._template_of(gone))
                self._tasks.drop(gone.id)
                self._loosened.add((gone.service_id, gone.template_version))
            case Service():
                self._indexes.service_changed(gone, None)
                self._services.drop(gone.id)
                self._loosened |= {(gone.id, version) for version in self._template_versions.get(gone.id) or ()}
            case Network():
                self._indexes.network_changed(gone, None)
                self._networks.drop(gone.id)
            case Secret():
                self._indexes.secret_changed(gone, None)
                self._secrets.drop(gone.id)
            case Config():
                self._indexes.config_changed(gone, None)
                self._configs.drop(gone.id)
            case Node():
                self._nodes.drop(gone.id)
            case Cluster():
                raise Refused("the cluster object cannot be removed")
            case None:
                raise Refused(f"{change.kind} {change.id} does not exist")
            case _:
                assert_never(gone)
        self._touch(change.kind, change.id)

    def _remember(self, change: Remember) -> None:
        if self._requests.get(change.request_id) is not None:
            return
        self._requests.set(change.request_id, change.object_id)
        self._request_order.set(self._requests_seen, change.request_id)
        forgotten = self._requests_seen - REMEMBERED
        self._requests_seen += 1
        if forgotten >= 0 and (request_id := self._request_order.get(forgotten)) is not None:
            self._requests.drop(request_id)
            self._request_order.drop(forgotten)

    # -- what a set was decided on -------------------------------------------------------------------------------------------------
    def _present(self, kind: Kind, object_id: Id) -> Object | None:
        match kind:
            case Kind.TASK:
                return self._tasks.get(object_id)
            case Kind.SERVICE:
                return self._services.get(object_id)
            case Kind.NODE:
                return self._nodes.get(object_id)
            case Kind.NETWORK:
                return self._networks.get(object_id)
            case Kind.SECRET:
                return self._secrets.get(object_id)
            case Kind.CONFIG:
                return self._configs.get(object_id)
            case Kind.CLUSTER:
                return self._cluster
            case _:
                assert_never(kind)

    def _based(self, kind: Kind, object_id: Id, base: int) -> None:
        """The object has the version that the change was decided on; 0 is one that does not exist."""
        present = self._present(kind, object_id)
        version = 0 if present is None else present.version
        if version != base:
            known = f"is at version {version}" if present is not None else "does not exist"
            expected = f"version {base}" if base else "a new one"
            raise Refused(f"{kind} {object_id} {known}; the change was decided on {expected}")

    def _expect(self, kind: Kind, object_id: Id, base: int) -> None:
        if self._present(kind, object_id) is None:
            raise Refused(f"{kind} {object_id} does not exist")
        if base:
            self._based(kind, object_id, base)

    def _own_name(self, kind: Kind, object_id: Id, name: str) -> None:
        owner = self._indexes.owner_of(kind, name)
        if owner is not None and owner != object_id:
            raise Refused(f"name {name!r} belongs to {kind} {owner}")

    def _expect_ports(self, change: ExpectPorts) -> None:
        for port in change.ports:
            key, mode = (port.protocol or "tcp", port.published_port), port.publish_mode or "ingress"
            holders = set(self._indexes.port_owners("ingress", key))
            if mode == "ingress":
                holders |= set(self._indexes.port_owners("host", key))
            if holders - {change.service_id}:
                raise Refused(f"port {port.published_port}/{key[0]} is taken by service {min(holders - {change.service_id})}")

    # -- the end -------------------------------------------------------------------------------------------------------------------
    def _touch(self, kind: Kind, object_id: Id) -> None:
        touched = self._touched.get(kind)
        if touched is None:
            touched = self._touched[kind] = set()
        touched.add(object_id)

    def _prune_templates(self) -> None:
        """Forget the templates that neither a task nor its service's present or previous spec refers to."""
        for service_id in sorted({service_id for service_id, _ in self._loosened}):
            service = self._services.get(service_id)
            versions = self._template_versions.get(service_id) or ()
            kept = tuple(version for version in versions if self._needed(service, (service_id, version)))
            for version in set(versions) - set(kept):
                self._templates.drop((service_id, version))
            if not kept:
                self._template_versions.drop(service_id)
            elif kept != versions:
                self._template_versions.set(service_id, kept)

    def _needed(self, service: Service | None, key: TemplateKey) -> bool:
        if self._indexes.template_uses(key) or (service is not None and service.template_version == key[1]):
            return True
        previous = None if service is None else service.previous_spec
        if previous is None or service is None:
            return False
        return template_from(previous, service.previous_extensions or service.extensions) == self._templates.get(key)

    def finish(self) -> Snapshot:
        self._prune_templates()
        ids = {kind: frozenset(touched) for kind, touched in self._touched.items()}
        step = Step(self._index, ids, sum(len(touched) for touched in ids.values()))
        history, size, start = remembered(step, self._now)
        return Snapshot(
            version=self._index,
            cluster=self._cluster,
            nodes=self._nodes.finish(),
            services=self._services.finish(),
            tasks=self._tasks.finish(),
            networks=self._networks.finish(),
            secrets=self._secrets.finish(),
            configs=self._configs.finish(),
            templates=self._templates.finish(),
            template_versions=self._template_versions.finish(),
            requests=self._requests.finish(),
            request_order=self._request_order.finish(),
            requests_seen=self._requests_seen,
            indexes=self._indexes.finish(),
            history=history,
            history_size=size,
            history_from=start,
        )


def kind_of(item: Object) -> Kind:
    """The table that an object belongs in."""
    match item:
        case Task():
            return Kind.TASK
        case Service():
            return Kind.SERVICE
        case Node():
            return Kind.NODE
        case Network():
            return Kind.NETWORK
        case Secret():
            return Kind.SECRET
        case Config():
            return Kind.CONFIG
        case Cluster():
            return Kind.CLUSTER
        case _:
            assert_never(item)
