"""What users ask for: specs, field by field as the Docker Engine API v1.51 has them. Durations are in nanoseconds."""

import enum
from collections.abc import Mapping

from msgspec import field

from cluster.api.states import Availability, Role
from cluster.api.values import Value

SECOND = 1_000_000_000
"""Nanoseconds: the unit of every duration below."""

Labels = Mapping[str, str]


# -- containers ----------------------------------------------------------------------------------------------------------------------
class CredentialSpec(Value, frozen=True, kw_only=True):
    config: str = ""
    file: str = ""
    registry: str = ""


class SELinuxContext(Value, frozen=True, kw_only=True):
    disable: bool = False
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SecurityProfile(Value, frozen=True, kw_only=True):
    """Seccomp (`default`, `unconfined`, `custom` with a profile) and AppArmor (`default`, `disabled`)."""

    mode: str = ""
    profile: str = ""


class Privileges(Value, frozen=True, kw_only=True):
    credential_spec: CredentialSpec | None = None
    selinux_context: SELinuxContext | None = None
    seccomp: SecurityProfile | None = None
    app_armor: SecurityProfile | None = None
    no_new_privileges: bool = False


class DriverConfig(Value, frozen=True, kw_only=True):
    name: str = ""
    options: Labels = {}


class BindOptions(Value, frozen=True, kw_only=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeOptions(Value, frozen=True, kw_only=True):
    no_copy: bool = False
    labels: Labels = {}
    driver_config: DriverConfig | None = None
    subpath: str = ""


class ImageOptions(Value, frozen=True, kw_only=True):
    subpath: str = ""


class TmpfsOptions(Value, frozen=True, kw_only=True):
    size_bytes: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] = ()


class Mount(Value, frozen=True, kw_only=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HealthConfig(Value, frozen=True, kw_only=True):
    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


class DNSConfig(Value, frozen=True, kw_only=True):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class FileTarget(Value, frozen=True, kw_only=True):
    """Where a secret or config appears in the container; `mode` is a Unix mode as a number."""

    name: str = ""
    uid: str = ""
    gid: str = ""
    mode: int = 0


class SecretReference(Value, frozen=True, kw_only=True):
    file: FileTarget | None = None
    secret_id: str = ""
    secret_name: str = ""


class RuntimeTarget(Value, frozen=True, kw_only=True):
    """A config that is not a file in the container but part of its definition (a credential spec)."""


class ConfigReference(Value, frozen=True, kw_only=True):
    file: FileTarget | None = None
    runtime: RuntimeTarget | None = None
    config_id: str = ""
    config_name: str = ""


class Ulimit(Value, frozen=True, kw_only=True):
    name: str = ""
    soft: int = 0
    hard: int = 0


class ContainerSpec(Value, frozen=True, kw_only=True):
    image: str = ""
    labels: Labels = {}
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    hostname: str = ""
    env: tuple[str, ...] = ()
    dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    privileges: Privileges | None = None
    stop_signal: str = ""
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    stop_grace_period: int | None = None
    healthcheck: HealthConfig | None = None
    hosts: tuple[str, ...] = ()
    dns_config: DNSConfig | None = None
    secrets: tuple[SecretReference, ...] = ()
    configs: tuple[ConfigReference, ...] = ()
    isolation: str = ""
    init: bool | None = None
    sysctls: Labels = {}
    capability_add: tuple[str, ...] = ()
    capability_drop: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0


# -- tasks ---------------------------------------------------------------------------------------------------------------------------
class NamedResource(Value, frozen=True, kw_only=True):
    kind: str = ""
    value: str = ""


class DiscreteResource(Value, frozen=True, kw_only=True):
    kind: str = ""
    value: int = 0


class GenericResource(Value, frozen=True, kw_only=True):
    named_resource_spec: NamedResource | None = None
    discrete_resource_spec: DiscreteResource | None = None


class Limits(Value, frozen=True, kw_only=True):
    nano_cpus: int = field(default=0, name="NanoCPUs")
    memory_bytes: int = 0
    pids: int = field(default=0, name="Pids")


class Reservations(Value, frozen=True, kw_only=True):
    """Also what a node has: `NodeDescription.Resources`."""

    nano_cpus: int = field(default=0, name="NanoCPUs")
    memory_bytes: int = 0
    generic_resources: tuple[GenericResource, ...] = ()


class Resources(Value, frozen=True, kw_only=True):
    limits: Limits | None = None
    reservations: Reservations | None = None


class RestartPolicy(Value, frozen=True, kw_only=True):
    condition: str = ""
    """`none`, `on-failure` or `any`; empty is `any`."""
    delay: int | None = None
    max_attempts: int | None = None
    window: int | None = None


class SpreadOver(Value, frozen=True, kw_only=True):
    spread_descriptor: str = ""


class PlacementPreference(Value, frozen=True, kw_only=True):
    spread: SpreadOver | None = None


class Platform(Value, frozen=True, kw_only=True):
    architecture: str = ""
    os: str = ""


class Placement(Value, frozen=True, kw_only=True):
    constraints: tuple[str, ...] = ()
    preferences: tuple[PlacementPreference, ...] = ()
    max_replicas: int = 0
    platforms: tuple[Platform, ...] = ()


class NetworkAttachmentConfig(Value, frozen=True, kw_only=True):
    target: str = ""
    """A network's id (or, in requests, its name)."""
    aliases: tuple[str, ...] = ()
    driver_opts: Labels = {}


class LogDriver(Value, frozen=True, kw_only=True):
    name: str = ""
    options: Labels = {}


class TaskSpec(Value, frozen=True, kw_only=True):
    container_spec: ContainerSpec | None = None
    resources: Resources | None = None
    restart_policy: RestartPolicy | None = None
    placement: Placement | None = None
    force_update: int = 0
    runtime: str = ""
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    log_driver: LogDriver | None = None


# -- services ------------------------------------------------------------------------------------------------------------------------
class ReplicatedMode(Value, frozen=True, kw_only=True):
    replicas: int | None = None


class GlobalMode(Value, frozen=True, kw_only=True):
    """One task on every node that fits."""


class ReplicatedJobMode(Value, frozen=True, kw_only=True):
    max_concurrent: int | None = None
    total_completions: int | None = None


class GlobalJobMode(Value, frozen=True, kw_only=True):
    """One completion on every node that fits."""


class ServiceMode(Value, frozen=True, kw_only=True):
    """Exactly one is set; none at all in a request means one replica."""

    replicated: ReplicatedMode | None = None
    global_: GlobalMode | None = field(default=None, name="Global")
    replicated_job: ReplicatedJobMode | None = None
    global_job: GlobalJobMode | None = None


class UpdateConfig(Value, frozen=True, kw_only=True, omit_defaults=False):
    parallelism: int = 0
    """Tasks at a time; 0 is all at once."""
    delay: int = 0
    failure_action: str = ""
    monitor: int | None = None
    max_failure_ratio: float = 0
    order: str = ""


class PortConfig(Value, frozen=True, kw_only=True):
    name: str = ""
    protocol: str = ""
    """`tcp`, `udp` or `sctp`; admission fills in tcp."""
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = ""
    """`ingress` or `host`; admission fills in ingress."""
    host_ip: str = ""
    """Ours: the host address to publish on; every one when empty. What `Extensions.publish_on` says, for stock clients lose it."""


class EndpointSpec(Value, frozen=True, kw_only=True):
    mode: str = ""
    """`vip` (also when empty) or `dnsrr`."""
    ports: tuple[PortConfig, ...] = ()


class ServiceSpec(Value, frozen=True, kw_only=True):
    name: str = ""
    labels: Labels = {}
    task_template: TaskSpec = TaskSpec()
    mode: ServiceMode = ServiceMode()
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    """Deprecated by Docker (1.44) for `TaskTemplate.Networks`; the edge moves them there."""
    endpoint_spec: EndpointSpec | None = None


class Readiness(Value, frozen=True, kw_only=True):
    """Fit for traffic or not, asked again and again while a task runs; unlike a health check it never ends the task."""

    test: tuple[str, ...] = ()
    """As a health check has it: `CMD` and words, or `CMD-SHELL` and one line for the container's shell. Or `HTTP` and `8080/healthz`, or
    `TCP` and `5432`: a port at which the task answers others."""
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    """Failures in a row that take a ready task out of traffic; one that passes brings it back."""


class Dependency(Value, frozen=True, kw_only=True):
    """What another service must have come to before a task of this one starts."""

    service: str = ""
    """Its name: it need not exist yet."""
    condition: str = ""
    """`service_started` (also when empty), `service_healthy` or `service_completed_successfully`."""


class Device(Value, frozen=True, kw_only=True):
    """As `HostConfig.Devices` of a container has it."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Value, frozen=True, kw_only=True):
    """As `HostConfig.DeviceRequests` of a container has it; what --gpus is."""

    driver: str = ""
    count: int = 0
    """-1 is all that there are."""
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: Labels = {}


class Extensions(Value, frozen=True, kw_only=True):
    """What Shoal adds to a service. Beside the spec, never in it: stock clients post a spec back without what they don't know."""

    drain_timeout: int | None = None
    """How long a stopping task's open connections may take to end; 5 s when unset."""
    restart_backoff: int | None = None
    """The longest pause before a task that keeps failing quickly is tried again; 5 min when unset, 0 for no back-off."""
    readiness: Readiness | None = None
    depends_on: tuple[Dependency, ...] = ()
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    rebalance: int = 0
    """Tasks at a time that may move to a node that joins; 0 leaves them where they are."""
    on_disconnect: str = ""
    """What becomes of a task whose node is cut off from the managers: `keep` (also when empty) runs on, `stop` ends it."""
    endpoint_affinity: str = ""
    """Which connections go to the same task: `none` (also when empty), or `client-ip`: those from one address."""
    endpoint_prefer_local: bool = False
    """Connections go to tasks of the node that they start or come in at, while it has any that are ready."""
    publish_on: Mapping[str, str] = {}
    """`8080/tcp` -> the one host address (IPv4) that this port is published on. Admission writes it into the spec's ports."""


# -- the other objects ----------------------------------------------------------------------------------------------------------------
class NodeSpec(Value, frozen=True, kw_only=True, omit_defaults=False):
    name: str = ""
    labels: Labels = {}
    role: Role = Role.WORKER
    availability: Availability = Availability.ACTIVE


class SecretSpec(Value, frozen=True, kw_only=True):
    name: str = ""
    labels: Labels = {}
    data: bytes = b""
    driver: DriverConfig | None = None
    templating: DriverConfig | None = None


class ConfigSpec(Value, frozen=True, kw_only=True):
    name: str = ""
    labels: Labels = {}
    data: bytes = b""
    templating: DriverConfig | None = None


class IPAMConfig(Value, frozen=True, kw_only=True):
    subnet: str = ""
    ip_range: str = field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: Labels = {}


class IPAM(Value, frozen=True, kw_only=True):
    driver: str = "default"
    options: Labels = {}
    config: tuple[IPAMConfig, ...] = ()


class NetworkSpec(Value, frozen=True, kw_only=True):
    """The body of `POST /networks/create`."""

    name: str = ""
    labels: Labels = {}
    driver: str = "overlay"
    scope: str = "swarm"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool = field(default=False, name="EnableIPv6")
    ipam: IPAM | None = None
    options: Labels = {}


# -- the cluster --------------------------------------------------------------------------------------------------------------------
class OrchestrationConfig(Value, frozen=True, kw_only=True, omit_defaults=False):
    task_history_retention_limit: int = 5


class RaftSettings(Value, frozen=True, kw_only=True, omit_defaults=False):
    """Ticks are of 50 ms; see docs/design/raft.md. The names and the first three defaults are Docker's."""

    snapshot_interval: int = 10_000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 12
    heartbeat_tick: int = 2


class DispatcherConfig(Value, frozen=True, kw_only=True, omit_defaults=False):
    heartbeat_period: int = 1 * SECOND


class ExternalCA(Value, frozen=True, kw_only=True):
    protocol: str = "cfssl"
    url: str = ""
    options: Labels = {}
    ca_cert: str = field(default="", name="CACert")


class CAConfig(Value, frozen=True, kw_only=True):
    node_cert_expiry: int = 90 * 24 * 3600 * SECOND
    external_cas: tuple[ExternalCA, ...] = field(default=(), name="ExternalCAs")
    signing_ca_cert: str = field(default="", name="SigningCACert")
    signing_ca_key: str = field(default="", name="SigningCAKey")
    force_rotate: int = 0


class EncryptionConfig(Value, frozen=True, kw_only=True, omit_defaults=False):
    auto_lock_managers: bool = False


class TaskDefaults(Value, frozen=True, kw_only=True):
    log_driver: LogDriver | None = None


class ClusterSpec(Value, frozen=True, kw_only=True, omit_defaults=False):
    """`SwarmSpec`."""

    name: str = "default"
    labels: Labels = {}
    orchestration: OrchestrationConfig = OrchestrationConfig()
    raft: RaftSettings = RaftSettings()
    dispatcher: DispatcherConfig = DispatcherConfig()
    ca_config: CAConfig = field(default=CAConfig(), name="CAConfig")
    encryption_config: EncryptionConfig = EncryptionConfig()
    task_defaults: TaskDefaults = TaskDefaults()


class Mode(enum.StrEnum):
    """A service's mode, as `service ls` words it."""

    REPLICATED = "replicated"
    GLOBAL = "global"
    REPLICATED_JOB = "replicated job"
    GLOBAL_JOB = "global job"


def mode_of(spec: ServiceSpec) -> Mode:
    """Which of the four modes the spec asks for; none set is replicated."""
    mode = spec.mode
    if mode.global_ is not None:
        return Mode.GLOBAL
    if mode.replicated_job is not None:
        return Mode.REPLICATED_JOB
    return Mode.GLOBAL_JOB if mode.global_job is not None else Mode.REPLICATED


def replicas_of(spec: ServiceSpec) -> int:
    """How many tasks a replicated service wants; 1 when the request named no number."""
    wanted = spec.mode.replicated
    return 1 if wanted is None or wanted.replicas is None else wanted.replicas
