"""Change sets: what is proposed, logged and applied, whole or not at all.

A change states what it was decided on, and `store.apply` refuses the whole set if that no longer holds; apply is deterministic on
every manager. Type numbers are never reused and fields are only added with defaults: every later release reads every earlier log.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from cluster.api.ids import Id
from cluster.api.objects import Attachment, Object, TaskStatus
from cluster.api.specs import NamedResource, PortConfig
from cluster.api.states import Kind, TaskState

FORMAT = 1


class Put(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="c"):
    """The object as it shall be. `base` is the version it was read at; 0 says that it must not exist yet."""

    object: Object
    base: int = 0


class Remove(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=2, tag_field="c"):
    """The object shall be gone. A `base` other than 0 must be its present version."""

    kind: Kind
    id: Id
    base: int = 0


class TaskChange(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=3, tag_field="c"):
    """A step of one task, small because there are many. Fields left unset stay.

    Refused (the whole set): an unknown task, a status or desired state that goes back, a node for a task that has another one.
    """

    id: Id
    desired_state: TaskState | UnsetType = UNSET
    node_id: Id | UnsetType = UNSET
    status: TaskStatus | UnsetType = UNSET
    attachments: tuple[Attachment, ...] | UnsetType = UNSET
    resources: tuple[NamedResource, ...] | UnsetType = UNSET


class Remember(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=4, tag_field="c"):
    """The request with this id was done, on this object: a retry of it is answered, not done again. The last 10,000 are kept."""

    request_id: Id
    object_id: Id


class Expect(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=5, tag_field="c"):
    """This object must exist when the set is applied: something else in the set refers to it. A `base` other than 0 is its version."""

    kind: Kind
    id: Id
    base: int = 0


class ExpectPorts(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=6, tag_field="c"):
    """No other service may hold these published ports when the set is applied; a host-mode port may be shared by host-mode services."""

    service_id: Id
    ports: tuple[PortConfig, ...]


Change = Put | Remove | TaskChange | Remember | Expect | ExpectPorts


class ChangeSet(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="e"):
    """One log entry. `at` is the leader's wall clock (ns): the time that objects changed by it carry."""

    at: int
    changes: tuple[Change, ...]
    format: int = FORMAT


LogEntry = ChangeSet
"""A union once there is a second type of entry."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LogEntry)


def encode_entry(entry: LogEntry) -> bytes:
    return _encoder.encode(entry)


def decode_entry(payload: bytes) -> LogEntry:
    """Raises msgspec.DecodeError: a committed entry that cannot be read stops the daemon; it is never skipped."""
    return _decoder.decode(payload)
