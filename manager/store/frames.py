"""A snapshot as bytes: frames of at most about 256 KiB, each readable on its own, so that encoding, sending and reading go in slices.

Type numbers are never reused and fields only added with defaults, as in the log: every later release reads every earlier snapshot.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from cluster.api.changes import FORMAT
from cluster.api.ids import Id
from cluster.api.objects import Cluster, Config, Network, Node, Object, Secret, Service, Task, Template
from manager.store.indexes import IndexDraft
from manager.store.snapshot import Snapshot
from manager.store.tables import Map, TableDraft

FRAME_BYTES = 1 << 18
"""The size at which a frame is closed, so that reading it takes about 10 ms; only a single object larger than that makes a larger one."""


class Head(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="f"):
    """The first frame."""

    version: int
    requests_seen: int = 0
    format: int = FORMAT


class Objects(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=2, tag_field="f"):
    objects: tuple[msgspec.Raw, ...]
    """Each an encoded Object."""


class KeptTemplate(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    service_id: Id
    version: int
    template: Template


class Templates(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=3, tag_field="f"):
    """Before the tasks that are made from them."""

    templates: tuple[msgspec.Raw, ...]
    """Each an encoded KeptTemplate."""


class Requests(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=4, tag_field="f"):
    requests: tuple[msgspec.Raw, ...]
    """Each (place in the order, request, object)."""


class Tail(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=5, tag_field="f"):
    """The last frame: without it the snapshot is not whole."""

    version: int


Frame = Head | Objects | Templates | Requests | Tail

_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(Frame)
_objects = msgspec.msgpack.Decoder(Object)
_templates = msgspec.msgpack.Decoder(KeptTemplate)
_requests = msgspec.msgpack.Decoder(tuple[int, Id, Id])


class DamagedSnapshot(Exception):
    """The frames are not one whole snapshot in their order."""


def encode(now: Snapshot) -> Iterator[bytes]:
    """The frames of a snapshot. Lazy: whoever takes them decides how much of it happens at a time."""
    yield _encoder.encode(Head(version=now.version, requests_seen=now.requests_seen))
    kept = (KeptTemplate(service_id=key[0], version=key[1], template=template) for key, template in now.templates.items())
    for batch in _batches(kept):
        yield _encoder.encode(Templates(templates=batch))
    for batch in _batches(_all_objects(now)):
        yield _encoder.encode(Objects(objects=batch))
    for batch in _batches((place, request, now.requests[request]) for place, request in now.request_order.items()):
        yield _encoder.encode(Requests(requests=batch))
    yield _encoder.encode(Tail(version=now.version))


def _all_objects(now: Snapshot) -> Iterator[Object]:
    if now.cluster is not None:
        yield now.cluster
    for table in (now.nodes, now.networks, now.secrets, now.configs, now.services, now.tasks):
        yield from table.values()


def _batches(items: Iterable[object]) -> Iterator[tuple[msgspec.Raw, ...]]:
    batch: list[msgspec.Raw] = []
    size = 0
    for item in items:
        encoded = _encoder.encode(item)
        if batch and size + len(encoded) > FRAME_BYTES - 1024:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(msgspec.Raw(encoded))
        size += len(encoded)
    if batch:
        yield tuple(batch)


class Restoration:
    """A snapshot being read, frame by frame. Indexes are rebuilt, not carried: they cannot disagree with the tables."""

    def __init__(self) -> None:
        self._head: Head | None = None
        self._whole = False
        self._cluster: Cluster | None = None
        self._nodes: TableDraft[Id, Node] = TableDraft(Map())
        self._services: TableDraft[Id, Service] = TableDraft(Map())
        self._tasks: TableDraft[Id, Task] = TableDraft(Map())
        self._networks: TableDraft[Id, Network] = TableDraft(Map())
        self._secrets: TableDraft[Id, Secret] = TableDraft(Map())
        self._configs: TableDraft[Id, Config] = TableDraft(Map())
        self._templates: TableDraft[tuple[Id, int], Template] = TableDraft(Map())
        self._versions: dict[Id, list[int]] = {}
        self._requests: TableDraft[Id, Id] = TableDraft(Map())
        self._request_order: TableDraft[int, Id] = TableDraft(Map())
        self._indexes = IndexDraft(Snapshot().indexes)

    def feed(self, payload: bytes) -> None:
        """Raises DamagedSnapshot for frames out of order, msgspec.DecodeError for bytes that are none."""
        frame: Frame = _frames.decode(payload)
        if (self._head is None) is not isinstance(frame, Head) or self._whole:
            raise DamagedSnapshot(f"a {type(frame).__name__} frame out of order")
        match frame:
            case Head():
                self._head = frame
            case Objects():
                for raw in frame.objects:
                    self._take(_objects.decode(raw))
            case Templates():
                for raw in frame.templates:
                    kept = _templates.decode(raw)
                    self._templates.set((kept.service_id, kept.version), kept.template)
                    self._versions.setdefault(kept.service_id, []).append(kept.version)
            case Requests():
                for raw in frame.requests:
                    place, request, object_id = _requests.decode(raw)
                    self._requests.set(request, object_id)
                    self._request_order.set(place, request)
            case Tail():
                self._whole = True

    def _take(self, item: Object) -> None:
        match item:
            case Task():
                template = self._templates.get((item.service_id, item.template_version))
                if template is None:
                    raise DamagedSnapshot(f"task {item.id} without its template")
                self._tasks.set(item.id, item)
                self._indexes.task_added(item, template)
            case Service():
                self._services.set(item.id, item)
                self._indexes.service_changed(None, item)
            case Network():
                self._networks.set(item.id, item)
                self._indexes.network_changed(None, item)
            case Secret():
                self._secrets.set(item.id, item)
                self._indexes.secret_changed(None, item)
            case Config():
                self._configs.set(item.id, item)
                self._indexes.config_changed(None, item)
            case Node():
                self._nodes.set(item.id, item)
            case Cluster():
                self._cluster = item

    def finish(self) -> Snapshot:
        if self._head is None or not self._whole:
            raise DamagedSnapshot("the snapshot has no end")
        versions: TableDraft[Id, tuple[int, ...]] = TableDraft(Map())
        for service_id, found in self._versions.items():
            versions.set(service_id, tuple(sorted(found)))
        return Snapshot(
            version=self._head.version,
            cluster=self._cluster,
            nodes=self._nodes.finish(),
            services=self._services.finish(),
            tasks=self._tasks.finish(),
            networks=self._networks.finish(),
            secrets=self._secrets.finish(),
            configs=self._configs.finish(),
            templates=self._templates.finish(),
            template_versions=versions.finish(),
            requests=self._requests.finish(),
            request_order=self._request_order.finish(),
            requests_seen=self._head.requests_seen,
            indexes=self._indexes.finish(),
            history_from=self._head.version,
        )
