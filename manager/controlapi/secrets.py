"""Secrets: kept in the replicated store, given to nodes that run a user of them. Pure."""

from msgspec.structs import replace

from cluster.api.changes import Put, Remember, Remove
from cluster.api.commands import CreateSecret, RemoveSecret, UpdateSecret
from cluster.api.errors import Conflict, InvalidArgument, NotFound, NotSupported, OutOfSequence
from cluster.api.ids import Id
from cluster.api.objects import Secret
from cluster.api.specs import DriverConfig, SecretSpec
from cluster.api.states import Kind
from manager.controlapi.admission import Admission
from manager.controlapi.validate_names import check_file_name, check_labels
from manager.store.snapshot import Snapshot

MAX_BYTES = 500 * 1024


def create(now: Snapshot, command: CreateSecret) -> Admission:
    spec = command.spec
    check_file_name(spec.name)
    check_labels(spec.labels)
    if spec.driver is not None:
        raise NotSupported(f"secret drivers are not supported: {spec.driver.name!r} cannot be used")
    if not 0 < len(spec.data) < MAX_BYTES:
        raise InvalidArgument(f"secret data must be larger than 0 and less than {MAX_BYTES} bytes")
    check_templating(spec.templating)
    if now.named(Kind.SECRET, spec.name) is not None:
        raise Conflict(f"secret {spec.name} already exists")
    return Admission(id=command.id, changes=(Put(object=Secret(id=command.id, spec=spec)),))


def update(now: Snapshot, command: UpdateSecret) -> Admission:
    present = _present(now, command.id)
    if command.version < present.version:
        raise OutOfSequence(f"secret {present.spec.name}")
    check_labels(command.spec.labels)
    _check_labels_only(present.spec, command.spec)
    put = replace(present, spec=replace(present.spec, labels=command.spec.labels))
    return Admission(id=put.id, changes=(Put(object=put, base=present.version), Remember(request_id=command.request_id, object_id=put.id)))


def remove(now: Snapshot, command: RemoveSecret) -> Admission:
    present = _present(now, command.id)
    check_unused(now, Kind.SECRET, present.id, present.spec.name)
    return Admission(
        id=present.id, changes=(Remove(kind=Kind.SECRET, id=present.id), Remember(request_id=present.id, object_id=present.id))
    )


def _present(now: Snapshot, secret_id: Id) -> Secret:
    secret = now.secrets.get(secret_id)
    if secret is None:
        raise NotFound(f"secret {secret_id} not found")
    return secret


def _check_labels_only(present: SecretSpec, wanted: SecretSpec) -> None:
    """Clients post back what inspect gave them, which is without the data."""
    same_data = not wanted.data or wanted.data == present.data
    if wanted.name not in ("", present.name) or not same_data or wanted.driver != present.driver:
        raise InvalidArgument("only updates to Labels are allowed")


def check_unused(now: Snapshot, kind: Kind, object_id: Id, name: str) -> None:
    """A secret or config goes only when no service refers to it."""
    if users := sorted(service.spec.name for service in now.users_of(kind, object_id).values()):
        services = "services" if len(users) > 1 else "service"
        raise InvalidArgument(f"{kind} '{name}' is in use by the following {services}: {', '.join(users)}")


def check_templating(templating: DriverConfig | None) -> None:
    if templating is not None and templating.name not in ("", "golang"):
        raise InvalidArgument(f"template driver {templating.name!r} is not supported: only golang is")
