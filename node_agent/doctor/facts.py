"""What the doctor knows of a host when it begins to judge."""

from collections.abc import Mapping

from cluster.api.values import Value
from node_agent.doctor.packets import Firewall
from node_agent.network.data_plane import USERSPACE
from node_agent.network.routes import Route
from node_agent.network.rtnetlink import Link
from node_agent.network.view import Known


class Disk(Value, frozen=True, kw_only=True):
    """One file system that we write to."""

    path: str
    total: int
    free: int
    """Bytes, for root."""
    inodes: int
    inodes_free: int


class EngineFacts(Value, frozen=True, kw_only=True):
    address: str = ""
    """Empty: none was found."""
    startable: bool = False
    """One is installed that we can start."""
    problem: str = ""
    version: str = ""
    api: str = ""
    cgroup_version: str = ""
    in_swarm: bool = False
    live_restore: bool = False
    networks: Mapping[str, str] = {}
    """Name of each network of ours -> the cluster network that it says to be for."""
    task_containers: Mapping[str, str] = {}
    """Name of each task's container -> the swarm that it is of."""


class DaemonFacts(Value, frozen=True, kw_only=True):
    pid: int = 0
    """0: it does not run."""
    descriptors: int = 0
    descriptor_limit: int = 0
    data_plane: str = ""
    """What its data plane works with: `nftables`, or `userspace, since ...`; empty where that is not known."""

    @property
    def balances(self) -> bool:
        """In userspace: the kernel is not asked for anything."""
        return self.data_plane.startswith(USERSPACE)


class Member(Value, frozen=True, kw_only=True):
    """This host's membership, as its state folder has it."""

    node_id: str
    cluster_id: str
    is_manager: bool
    listen_port: int
    managers: tuple[str, ...] = ()
    certificate_begins: float = 0.0
    certificate_ends: float = 0.0
    """Unix time; 0 where the certificate cannot be read."""


class Taken(Value, frozen=True, kw_only=True):
    """A published port that another program listens on."""

    protocol: str
    port: int
    service: str
    by: str


class Facts(Value, frozen=True, kw_only=True):
    now: float = 0.0
    is_root: bool = True
    member: Member | None = None
    known: Known = Known()
    """What the data plane knew last."""
    daemon: DaemonFacts = DaemonFacts()
    engine: EngineFacts = EngineFacts()
    settings: Mapping[str, str] = {}
    """sysctls by their dotted names; those that the kernel does not have are missing."""
    links: Mapping[str, Link] = {}
    addresses: Mapping[str, str] = {}
    """Address -> interface."""
    routes: tuple[Route, ...] = ()
    routing_rules: int = 0
    """How many of ours there are."""
    tables: tuple[str, ...] = ()
    """nftables of ours in the host's namespace."""
    accepts_in_docker: bool = False
    """DOCKER-USER begins with our rule."""
    firewalls: tuple[Firewall, ...] = ()
    lacking: Mapping[str, str] = {}
    """What the data plane needs of the kernel and does not get -> what the kernel said."""
    skews: Mapping[str, float] = {}
    """Manager -> seconds by which its clock is ahead of ours."""
    disks: tuple[Disk, ...] = ()
    taken: tuple[Taken, ...] = ()
    leftovers: tuple[str, ...] = ()
    """Files and mounts below the runtime folder that are there while no daemon is a member."""
