"""What a stack is once its files are read: typed values, every short syntax written out, every relative path made absolute.

Attributes are named and ordered as the keys of a stack file; `render` writes them back so. An attribute that is None was left out of
the file, where that is not the same as empty.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from stack_specs.document import Document
from stack_specs.errors import Fault, StackError
from stack_specs.ports import Port
from stack_specs.units import Bytes, Duration
from stack_specs.values import Value

NOTHING: Mapping[str, str] = MappingProxyType({})
NO_EXTRAS: Mapping[str, Value] = MappingProxyType({})


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a stack."""


class Build(Part, frozen=True, kw_only=True):
    """How to build the image. Nothing here is deployed."""

    context: str = ""
    dockerfile: str = ""
    args: Mapping[str, str | None] = NOTHING
    labels: Mapping[str, str] = NOTHING
    cache_from: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    network: str = ""
    target: str = ""


class FileReference(Part, frozen=True, kw_only=True):
    """A secret or config in a service."""

    source: str = ""
    target: str = ""
    uid: str = ""
    gid: str = ""
    mode: int | None = None


class CredentialSpec(Part, frozen=True, kw_only=True):
    """Where a Windows container's account comes from."""

    config: str = ""
    file: str = ""
    registry: str = ""


class Rollout(Part, frozen=True, kw_only=True):
    """How to update, or to roll back."""

    parallelism: int | None = None
    delay: Duration = Duration(0)
    failure_action: str = ""
    monitor: Duration = Duration(0)
    max_failure_ratio: float = 0.0
    order: str = ""


class Limits(Part, frozen=True, kw_only=True):
    """The most that a task may take."""

    cpus: str = ""
    memory: Bytes = Bytes(0)
    pids: int = 0


class DiscreteResource(Part, frozen=True, kw_only=True):
    """So many of a kind that the user made up."""

    kind: str
    value: int


class GenericResource(Part, frozen=True, kw_only=True):
    """A resource of the user's own."""

    discrete_resource_spec: DiscreteResource | None = None


class Reservations(Part, frozen=True, kw_only=True):
    """The least that a node must have free for a task."""

    cpus: str = ""
    memory: Bytes = Bytes(0)
    generic_resources: tuple[GenericResource, ...] = ()


class Resources(Part, frozen=True, kw_only=True):
    """What a task may and must get."""

    limits: Limits | None = None
    reservations: Reservations | None = None


class RestartPolicy(Part, frozen=True, kw_only=True):
    """Whether to start a task's successor, and when."""

    condition: str = ""
    delay: Duration | None = None
    max_attempts: int | None = None
    window: Duration | None = None


class Preference(Part, frozen=True, kw_only=True):
    """A node label to spread tasks over."""

    spread: str = ""


class Placement(Part, frozen=True, kw_only=True):
    """Where tasks may run."""

    constraints: tuple[str, ...] = ()
    preferences: tuple[Preference, ...] = ()
    max_replicas_per_node: int = 0


class Deploy(Part, frozen=True, kw_only=True):
    """The part of a service that the cluster reads."""

    mode: str = ""
    replicas: int | None = None
    labels: Mapping[str, str] = NOTHING
    update_config: Rollout | None = None
    rollback_config: Rollout | None = None
    resources: Resources = Resources()
    restart_policy: RestartPolicy | None = None
    placement: Placement = Placement()
    endpoint_mode: str = ""


class HealthCheck(Part, frozen=True, kw_only=True):
    """How to tell whether a container is well."""

    test: tuple[str, ...] = ()
    timeout: Duration | None = None
    interval: Duration | None = None
    retries: int | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
    disable: bool = False


class Logging(Part, frozen=True, kw_only=True):
    """Where a container's output goes."""

    driver: str = ""
    options: Mapping[str, str] | None = None


class ServiceNetwork(Part, frozen=True, kw_only=True):
    """How a service takes part in a network."""

    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] | None = None
    ipv4_address: str = ""
    ipv6_address: str = ""


class Ulimit(Part, frozen=True, kw_only=True):
    """A limit of the kernel: a single number, or a soft and a hard one."""

    single: int = 0
    soft: int = 0
    hard: int = 0


class BindOptions(Part, frozen=True, kw_only=True):
    """Options of a mount of type bind."""

    propagation: str = ""


class VolumeOptions(Part, frozen=True, kw_only=True):
    """Options of a mount of type volume."""

    nocopy: bool = False


class TmpfsOptions(Part, frozen=True, kw_only=True):
    """Options of a mount of type tmpfs."""

    size: int = 0


class Mount(Part, frozen=True, kw_only=True):
    """A volume or path in a service."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None


class Service(Part, frozen=True, kw_only=True):
    """A service as its stack file describes it."""

    name: str
    build: Build = Build()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    command: tuple[str, ...] = ()
    configs: tuple[FileReference, ...] = ()
    container_name: str = ""
    credential_spec: CredentialSpec = CredentialSpec()
    depends_on: tuple[str, ...] = ()
    deploy: Deploy = Deploy()
    devices: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    domainname: str = ""
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = NOTHING
    env_file: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    external_links: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    hostname: str = ""
    healthcheck: HealthCheck | None = None
    image: str = ""
    init: bool | None = None
    ipc: str = ""
    isolation: str = ""
    labels: Mapping[str, str] = NOTHING
    links: tuple[str, ...] = ()
    logging: Logging | None = None
    mac_address: str = ""
    network_mode: str = ""
    networks: Mapping[str, ServiceNetwork | None] = MappingProxyType({})
    pid: str = ""
    ports: tuple[Port, ...] = ()
    privileged: bool = False
    read_only: bool = False
    restart: str = ""
    secrets: tuple[FileReference, ...] = ()
    security_opt: tuple[str, ...] = ()
    shm_size: str = ""
    stdin_open: bool = False
    stop_grace_period: Duration | None = None
    stop_signal: str = ""
    sysctls: Mapping[str, str] = NOTHING
    tmpfs: tuple[str, ...] = ()
    tty: bool = False
    ulimits: Mapping[str, Ulimit] = MappingProxyType({})
    user: str = ""
    userns_mode: str = ""
    volumes: tuple[Mount, ...] = ()
    working_dir: str = ""
    extras: Mapping[str, Value] = NO_EXTRAS


class External(Part, frozen=True, kw_only=True):
    """Whether an object exists already, outside of the stack."""

    name: str = ""
    external: bool = False


class Subnet(Part, frozen=True, kw_only=True):
    """An address range of a network."""

    subnet: str = ""


class Ipam(Part, frozen=True, kw_only=True):
    """How a network hands out addresses."""

    driver: str = ""
    config: tuple[Subnet, ...] = ()


class Network(Part, frozen=True, kw_only=True):
    """A network of the stack, or one that it uses."""

    name: str = ""
    driver: str = ""
    driver_opts: Mapping[str, str] | None = None
    ipam: Ipam = Ipam()
    external: External = External()
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = NOTHING
    extras: Mapping[str, Value] = NO_EXTRAS


class Volume(Part, frozen=True, kw_only=True):
    """A volume of the stack, or one that it uses."""

    name: str = ""
    driver: str = ""
    driver_opts: Mapping[str, str] | None = None
    external: External = External()
    labels: Mapping[str, str] = NOTHING
    extras: Mapping[str, Value] = NO_EXTRAS
    cluster_spec: Mapping[str, Value] | None = None


class FileObject(Part, frozen=True, kw_only=True):
    """A secret or config of the stack, or one that it uses."""

    name: str = ""
    file: str = ""
    external: External = External()
    labels: Mapping[str, str] = NOTHING
    extras: Mapping[str, Value] = NO_EXTRAS
    driver: str = ""
    driver_opts: Mapping[str, str] | None = None
    template_driver: str = ""


class Stack(Part, frozen=True, kw_only=True):
    """Everything that the files of a stack say, checked and merged."""

    version: str
    services: tuple[Service, ...]
    networks: Mapping[str, Network]
    volumes: Mapping[str, Volume]
    secrets: Mapping[str, FileObject]
    configs: Mapping[str, FileObject]
    extras: Mapping[str, Value]
    documents: tuple[Document, ...]
    """Where it was read from, so that a fault found later can still be shown where it was written."""
    warnings: tuple[str, ...] = ()

    def error(self, fault: Fault) -> StackError:
        """The fault at its place in the file that has most of its key path; in the later file, if two have as much."""
        best = max(reversed(self.documents), key=lambda file: file.depth_of(fault.path))
        return best.error(fault)
