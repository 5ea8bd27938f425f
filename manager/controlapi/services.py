"""Services: create, update, roll back, remove. Pure."""

from msgspec.structs import replace

from cluster.api.changes import Put, Remember, Remove
from cluster.api.commands import CreateService, RebalanceService, RemoveService, UpdateService
from cluster.api.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, NotSupported, OutOfSequence
from cluster.api.ids import Id
from cluster.api.objects import JobStatus, Rebalance, Service, UpdateStatus
from cluster.api.specs import Extensions, Mode, ServiceSpec, mode_of, replicas_of
from cluster.api.states import Kind, UpdateState
from manager.controlapi.admission import Admission
from manager.controlapi.normalize import normalized
from manager.controlapi.order import check_order
from manager.controlapi.publish_addresses import with_addresses
from manager.controlapi.references import expected, resolved
from manager.controlapi.validate_services import check_service
from manager.store.snapshot import Snapshot

_JOBS = (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB)
_ENDED = (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED)


def create(now: Snapshot, command: CreateService) -> Admission:
    spec, extensions = _checked(now, command.spec, command.extensions)
    check_order(now, spec.name, extensions)
    if now.named(Kind.SERVICE, spec.name) is not None:
        raise Conflict(f"name conflicts with an existing object: service {spec.name} already exists")
    service = Service(
        id=command.id,
        spec=spec,
        job_status=JobStatus() if mode_of(spec) in _JOBS else None,
        extensions=extensions,
        registry_auth=command.registry_auth,
    )
    return Admission(id=command.id, changes=(*expected(now, command.id, spec), Put(object=service)), warnings=_passed_over(spec))


def update(now: Snapshot, command: UpdateService) -> Admission:
    present = _present(now, command.id)
    if command.version < present.spec_version:
        raise OutOfSequence(f"service {present.spec.name}")
    put = _rolled_back(now, present, command.rollback_to) if command.rollback else _updated(now, present, command)
    check_order(now, put.spec.name, put.extensions)
    put = replace(put, registry_auth=_auth(present, command), history=())
    changes = (*expected(now, put.id, put.spec), Put(object=put, base=present.version))
    done = Remember(request_id=command.request_id, object_id=put.id)
    return Admission(id=put.id, changes=(*changes, done), warnings=_passed_over(put.spec))


def _passed_over(spec: ServiceSpec) -> tuple[str, ...]:
    """Docker takes any preference, and heeds those that nodes can have a value for."""
    placement = spec.task_template.placement
    wished = () if placement is None else [one.spread.spread_descriptor for one in placement.preferences if one.spread is not None]
    return tuple(
        f"placement preference '{wish}' is passed over: use node.labels.NAME or engine.labels.NAME"
        for wish in wished
        if not wish.startswith(("node.", "engine.labels."))
    )


def rebalance(now: Snapshot, command: RebalanceService) -> Admission:
    present = _present(now, command.id)
    if mode_of(present.spec) is not Mode.REPLICATED:
        raise InvalidArgument(f"service {present.spec.name} is {mode_of(present.spec)}: only replicated services can be rebalanced")
    if command.at_once < 1:
        raise InvalidArgument("at least one task at a time must be allowed to move")
    wish = Rebalance(at_once=command.at_once, left=replicas_of(present.spec))
    put = replace(present, rebalance=wish, history=())
    return Admission(id=put.id, changes=(Put(object=put, base=present.version), Remember(request_id=command.request_id, object_id=put.id)))


def remove(now: Snapshot, command: RemoveService) -> Admission:
    present = _present(now, command.id)
    return Admission(
        id=present.id,
        changes=(Remove(kind=Kind.SERVICE, id=present.id), Remember(request_id=present.id, object_id=present.id)),
    )


def _present(now: Snapshot, service_id: Id) -> Service:
    service = now.services.get(service_id)
    if service is None:
        raise NotFound(f"service {service_id} not found")
    return service


def _checked(now: Snapshot, wanted: ServiceSpec, extensions: Extensions) -> tuple[ServiceSpec, Extensions]:
    spec, extensions = with_addresses(normalized(wanted), extensions)
    check_service(spec, extensions)
    return resolved(now, spec), extensions


def _updated(now: Snapshot, present: Service, command: UpdateService) -> Service:
    spec, extensions = _checked(now, command.spec, present.extensions if command.extensions is None else command.extensions)
    if spec.name != present.spec.name:
        raise NotSupported(f"renaming services is not supported: {present.spec.name} cannot become {spec.name}")
    if mode_of(spec) is not mode_of(present.spec):
        raise NotSupported(f"service mode change is not allowed: {present.spec.name} is {mode_of(present.spec)}, not {mode_of(spec)}")
    if spec == present.spec and not _restarts(present.extensions, extensions):
        return _extended(present, extensions)
    return replace(
        present,
        spec=spec,
        previous_spec=present.spec,
        previous_extensions=present.extensions,
        rebalance=None,
        extensions=extensions,
        update_status=None,
        pending_reason="",
        job_status=_next_iteration(present),
    )


def _extended(present: Service, extensions: Extensions) -> Service:
    """No task is made anew. It can be taken back as any update, but while one goes on that goes back to what was before it."""
    status = present.update_status
    if extensions == present.extensions or (status is not None and status.state not in _ENDED):
        return replace(present, extensions=extensions)
    return replace(present, extensions=extensions, previous_spec=present.spec, previous_extensions=present.extensions)


def _restarts(before: Extensions, after: Extensions) -> bool:
    """The extensions that containers are made with differ."""
    return (before.devices, before.device_requests) != (after.devices, after.device_requests)


def _past(present: Service, version: int) -> tuple[ServiceSpec, Extensions]:
    if version:
        for past in present.history:
            if past.version == version:
                return past.spec, past.extensions
        known = ", ".join(str(past.version) for past in present.history) or "none"
        raise NotFound(f"service {present.spec.name} has no version {version} in its history; there is {known}")
    if present.previous_spec is None:
        raise FailedPrecondition(f"service {present.id} does not have a previous spec")
    return present.previous_spec, present.previous_extensions or present.extensions


ROLLING_BACK = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, message="manually requested rollback")
"""Not for jobs: those run again as a whole, and nobody would ever say that it is done."""


def _rolled_back(now: Snapshot, present: Service, version: int) -> Service:
    spec, extensions = _checked(now, *_past(present, version))
    if mode_of(spec) is not mode_of(present.spec):
        raise NotSupported(f"service mode change is not allowed: {present.spec.name} is {mode_of(present.spec)}, not {mode_of(spec)}")
    return replace(
        present,
        spec=spec,
        extensions=extensions,
        previous_spec=None,
        previous_extensions=None,
        rebalance=None,
        update_status=None if present.job_status is not None else ROLLING_BACK,
        pending_reason="",
        job_status=_next_iteration(present),
    )


def _next_iteration(present: Service) -> JobStatus | None:
    """A job runs again whenever its spec changes; apply notes the time."""
    status = present.job_status
    return None if status is None else replace(status, job_iteration=status.job_iteration + 1)


def _auth(present: Service, command: UpdateService) -> str:
    """An update without credentials keeps those of the last one; we keep one set, so the previous spec's are the same."""
    if command.registry_auth_from not in ("", "spec", "previous-spec"):
        raise InvalidArgument(f"unsupported registryAuthFrom value {command.registry_auth_from}")
    return command.registry_auth or present.registry_auth
