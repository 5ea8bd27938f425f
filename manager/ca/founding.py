"""What a new cluster begins with: the first change set of the first manager. Pure: ids, keys and times come in."""

from collections.abc import Sequence

from msgspec import Struct

from cluster.api.changes import Change, Put
from cluster.api.features import LEVEL
from cluster.api.ids import Id
from cluster.api.objects import Cluster, JoinTokens, Network, Node, NodeDescription, NodeStatus, RaftMember, RootCA
from cluster.api.specs import ClusterSpec, NetworkSpec, NodeSpec
from cluster.api.states import Availability, Role
from cluster.rpc.tokens import JoinToken, ca_digest
from manager.ca.authority import Root


class Founding(Struct, frozen=True, kw_only=True):
    """What `swarm init` decided."""

    cluster_id: Id
    node_id: Id
    ingress_id: Id
    root: Root
    worker_secret: str
    manager_secret: str
    addr: str
    """host:port of the first manager."""
    data_path_addr: str
    spec: ClusterSpec = ClusterSpec()
    availability: Availability = Availability.ACTIVE
    default_addr_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789
    subnets: tuple[str, ...] = ()
    """The networks that the founding host is on: the first subnet is given before the node reports them."""
    feature_level: int = LEVEL
    unlock_key: str = ""
    """For autolock from the start."""


def founding_changes(founding: Founding) -> Sequence[Change]:
    digest = ca_digest(founding.root.certificate)
    cluster = Cluster(
        id=founding.cluster_id,
        spec=founding.spec,
        root_ca=RootCA(cert=founding.root.certificate, key=founding.root.key.encode()),
        join_tokens=JoinTokens(
            worker=str(JoinToken(digest, founding.worker_secret)), manager=str(JoinToken(digest, founding.manager_secret))
        ),
        default_addr_pool=founding.default_addr_pool,
        subnet_size=founding.subnet_size,
        data_path_port=founding.data_path_port,
        feature_level=founding.feature_level,
        unlock_key=founding.unlock_key,
        last_forced_rotation=founding.spec.ca_config.force_rotate,
    )
    node = Node(
        id=founding.node_id,
        spec=NodeSpec(role=Role.MANAGER, availability=founding.availability),
        description=NodeDescription(subnets=founding.subnets, feature_level=founding.feature_level),
        status=NodeStatus(addr=founding.addr.rpartition(":")[0]),
        certified_role=Role.MANAGER,
        data_path_addr=founding.data_path_addr,
        member=RaftMember(addr=founding.addr),
    )
    ingress = Network(id=founding.ingress_id, spec=NetworkSpec(name="ingress", driver="overlay", scope="swarm", ingress=True))
    return (Put(object=cluster), Put(object=node), Put(object=ingress))
