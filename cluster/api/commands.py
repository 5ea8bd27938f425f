"""What a client can ask of the control plane. Every id is drawn at the edge that took the request, so a retry is the same request."""

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import RootRotation
from cluster.api.specs import ClusterSpec, ConfigSpec, Extensions, NetworkSpec, NodeSpec, SecretSpec, ServiceSpec


class CreateService(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="k"):
    id: Id
    spec: ServiceSpec
    extensions: Extensions = Extensions()
    registry_auth: str = ""


class UpdateService(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=2, tag_field="k"):
    """`version` is what the client read (Version.Index). `rollback`: to the previous spec, the given one is ignored."""

    request_id: Id
    id: Id
    version: int
    spec: ServiceSpec
    extensions: Extensions | None = None
    """None keeps the present ones."""
    registry_auth: str = ""
    registry_auth_from: str = "spec"
    rollback: bool = False
    rollback_to: int = 0
    """With `rollback`: to the spec of this version in the service's history, not the previous one."""


class RemoveService(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=3, tag_field="k"):
    id: Id


class UpdateNode(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=4, tag_field="k"):
    request_id: Id
    id: Id
    version: int
    spec: NodeSpec


class RemoveNode(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=5, tag_field="k"):
    id: Id
    force: bool = False


class CreateNetwork(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=6, tag_field="k"):
    id: Id
    spec: NetworkSpec


class RemoveNetwork(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=7, tag_field="k"):
    id: Id


class CreateSecret(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=8, tag_field="k"):
    id: Id
    spec: SecretSpec


class UpdateSecret(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=9, tag_field="k"):
    request_id: Id
    id: Id
    version: int
    spec: SecretSpec


class RemoveSecret(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=10, tag_field="k"):
    id: Id


class CreateConfig(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=11, tag_field="k"):
    id: Id
    spec: ConfigSpec


class UpdateConfigObject(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=12, tag_field="k"):
    request_id: Id
    id: Id
    version: int
    spec: ConfigSpec


class RemoveConfig(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=13, tag_field="k"):
    id: Id


class UpdateCluster(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=14, tag_field="k"):
    request_id: Id
    version: int
    spec: ClusterSpec
    rotate_worker_token: str = ""
    """The new secret part, drawn at the edge; empty keeps the token."""
    rotate_manager_token: str = ""
    rotate_unlock_key: bool = False
    unlock_key: str = ""
    """Drawn at the edge; used if autolock begins with this update, or `rotate_unlock_key` asks for another one."""
    rotation: RootRotation | None = None
    """What the settings ask for, drawn at the edge; none if they ask for no other root."""
    rotation_base: int = 0
    """The version of the cluster object that the rotation was drawn for."""


class RebalanceService(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=15, tag_field="k"):
    """Spread the service's tasks evenly over the nodes that suit them, so many at a time; none ends before its successor serves."""

    request_id: Id
    id: Id
    at_once: int = 1


class AttachGuest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=16, tag_field="k"):
    """A container on this node joins an attachable network."""

    id: Id
    """The guest's."""
    node_id: Id
    network: str
    """Its id or name."""
    name: str = ""
    aliases: tuple[str, ...] = ()
    address: str = ""
    """The one that the user asked for; empty takes any."""


class DetachGuest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=17, tag_field="k"):
    """The container is gone: its address is free again. One that is not known any more is fine."""

    id: Id
    node_id: Id


Command = (
    CreateService
    | UpdateService
    | RemoveService
    | UpdateNode
    | RemoveNode
    | CreateNetwork
    | RemoveNetwork
    | CreateSecret
    | UpdateSecret
    | RemoveSecret
    | CreateConfig
    | UpdateConfigObject
    | RemoveConfig
    | UpdateCluster
    | RebalanceService
    | AttachGuest
    | DetachGuest
)


class Outcome(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The request is committed on a quorum and on disk. `version`: the index at which that is visible."""

    id: Id
    version: int
    warnings: tuple[str, ...] = ()
