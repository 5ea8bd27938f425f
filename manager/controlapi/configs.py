"""Configs: like secrets, but shown to clients and twice the size. Pure."""

from msgspec.structs import replace

from cluster.api.changes import Put, Remember, Remove
from cluster.api.commands import CreateConfig, RemoveConfig, UpdateConfigObject
from cluster.api.errors import Conflict, InvalidArgument, NotFound, OutOfSequence
from cluster.api.ids import Id
from cluster.api.objects import Config
from cluster.api.states import Kind
from manager.controlapi.admission import Admission
from manager.controlapi.secrets import check_templating, check_unused
from manager.controlapi.validate_names import check_file_name, check_labels
from manager.store.snapshot import Snapshot

MAX_BYTES = 1000 * 1024


def create(now: Snapshot, command: CreateConfig) -> Admission:
    spec = command.spec
    check_file_name(spec.name)
    check_labels(spec.labels)
    if not 0 < len(spec.data) < MAX_BYTES:
        raise InvalidArgument(f"config data must be larger than 0 and less than {MAX_BYTES} bytes")
    check_templating(spec.templating)
    if now.named(Kind.CONFIG, spec.name) is not None:
        raise Conflict(f"config {spec.name} already exists")
    return Admission(id=command.id, changes=(Put(object=Config(id=command.id, spec=spec)),))


def update(now: Snapshot, command: UpdateConfigObject) -> Admission:
    present = _present(now, command.id)
    if command.version < present.version:
        raise OutOfSequence(f"config {present.spec.name}")
    check_labels(command.spec.labels)
    if command.spec.name not in ("", present.spec.name) or (command.spec.data and command.spec.data != present.spec.data):
        raise InvalidArgument("only updates to Labels are allowed")
    put = replace(present, spec=replace(present.spec, labels=command.spec.labels))
    return Admission(id=put.id, changes=(Put(object=put, base=present.version), Remember(request_id=command.request_id, object_id=put.id)))


def remove(now: Snapshot, command: RemoveConfig) -> Admission:
    present = _present(now, command.id)
    check_unused(now, Kind.CONFIG, present.id, present.spec.name)
    return Admission(
        id=present.id, changes=(Remove(kind=Kind.CONFIG, id=present.id), Remember(request_id=present.id, object_id=present.id))
    )


def _present(now: Snapshot, config_id: Id) -> Config:
    config = now.configs.get(config_id)
    if config is None:
        raise NotFound(f"config {config_id} not found")
    return config
