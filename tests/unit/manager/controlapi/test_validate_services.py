"""Every spec that Docker refuses is refused in words that name the fault; what it accepts is accepted."""

import pytest

from cluster.api.errors import InvalidArgument
from cluster.api.specs import (
    BindOptions,
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    DiscreteResource,
    EndpointSpec,
    Extensions,
    FileTarget,
    GenericResource,
    GlobalMode,
    HealthConfig,
    Limits,
    Mount,
    Placement,
    PlacementPreference,
    PortConfig,
    Privileges,
    ReplicatedJobMode,
    ReplicatedMode,
    Reservations,
    Resources,
    RestartPolicy,
    RuntimeTarget,
    SecretReference,
    ServiceMode,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
    TmpfsOptions,
    UpdateConfig,
)
from manager.controlapi.normalize import normalized
from manager.controlapi.validate_services import SPEC_BYTES, check_service
from manager.controlapi.validate_tasks import check_image


def check(**fields: object) -> None:
    spec = ServiceSpec(**{"name": "web", "task_template": TaskSpec(container_spec=ContainerSpec(image="nginx")), **fields})
    check_service(normalized(spec), Extensions())


def check_task(**fields: object) -> None:
    check(task_template=TaskSpec(**{"container_spec": ContainerSpec(image="nginx"), **fields}))


def check_container(**fields: object) -> None:
    check_task(container_spec=ContainerSpec(**{"image": "nginx", **fields}))


def check_ports(*ports: PortConfig, mode: str = "") -> None:
    check(endpoint_spec=EndpointSpec(mode=mode, ports=ports))


def test_a_plain_service_passes() -> None:
    check()


@pytest.mark.parametrize("name", ["web", "a", "my_stack_web-1", "9lives", "A" * 63])
def test_names_that_dns_can_carry_pass(name: str) -> None:
    check(name=name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a b", "a" * 64, "a" * 62 + "!", "web\n", "/x"])
def test_other_names_are_refused_quickly(name: str) -> None:
    with pytest.raises(InvalidArgument, match="name must be"):
        check(name=name)


@pytest.mark.parametrize(
    "image",
    [
        "nginx", "nginx:1.25", "library/nginx", "localhost:5000/a/b:c", "ghcr.io/owner.x/app", "sha256:" + "a" * 64,
        "registry.example/x@sha256:" + "0" * 64, "a_b/c__d/e--f:v_1.0", "[fd00::1]:5000/x",
    ],
)  # fmt: skip
def test_images_that_docker_takes_pass(image: str) -> None:
    check_image(image)


@pytest.mark.parametrize("image", ["UPPER", "a:", ":a", "a//b", "a b", "a@sha256:12", "a" * 2000, "-a", "a:" + "t" * 129, "nginx\n"])
def test_images_that_docker_refuses_are_refused(image: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid repository/tag"):
        check_image(image)


def test_an_image_is_needed() -> None:
    for container in (ContainerSpec(), ContainerSpec(args=("x",)), None):
        with pytest.raises(InvalidArgument, match="ContainerSpec: image reference must be provided"):
            check_task(container_spec=container)
    with pytest.raises(InvalidArgument, match="runtime 'plugin' is not supported"):
        check_task(runtime="plugin")


def test_a_spec_that_no_message_could_carry_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="too large"):
        check_container(args=("x" * SPEC_BYTES,))


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ((Mount(type="volume", target="/a"), Mount(type="tmpfs", target="/a")), "duplicate mount point: /a"),
        ((Mount(type="volume", source="x"),), "needs a Target"),
        ((Mount(type="weird", target="/a"),), "invalid MountType: 'weird'"),
        ((Mount(source="/a", target="/a", bind_options=BindOptions(propagation="weird")),), "invalid MountPropagation: 'weird'"),
        ((Mount(type="tmpfs", target="/a", tmpfs_options=TmpfsOptions(mode=-1)),), "invalid mode -1 of the mount at /a"),
        ((Mount(type="bind", target="/a"),), "Source must not be empty"),
        ((Mount(target="/a"),), "Source must not be empty"),
        ((Mount(type="tmpfs", source="x", target="/a"),), "Source must not be specified"),
    ],
)
def test_mounts(mounts: tuple[Mount, ...], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_container(mounts=mounts)


def test_templates_are_tried_before_they_are_kept() -> None:
    check_container(hostname="{{.Node.Hostname}}-{{.Task.Slot}}", env=("A={{.Service.Name}}{{.Task.Name}}{{.Node.Platform.OS}}",))
    for fields, words in (
        ({"hostname": "{{.Bogus}}"}, "template 'hostname': can't evaluate field Bogus"),
        ({"env": ("A={{.Task.Slot",)}, "template 'env A': unclosed action"),
        ({"mounts": (Mount(type="volume", source="{{secret `x`}}", target="/a"),)}, "template 'mount /a': function 'secret' not defined"),
    ):
        with pytest.raises(InvalidArgument, match=f"ContainerSpec: {words}"):
            check_container(**fields)


def test_health_checks_have_sensible_times() -> None:
    check_container(healthcheck=HealthConfig(interval=1_000_000, retries=1))
    for field in ("interval", "timeout", "start_period", "start_interval"):
        for value in (-1, 999_999):
            with pytest.raises(InvalidArgument, match="cannot be less than one millisecond"):
                check_container(healthcheck=HealthConfig(**{field: value}))
    with pytest.raises(InvalidArgument, match="Retries"):
        check_container(healthcheck=HealthConfig(retries=-1))


def test_secrets_need_files_of_their_own() -> None:
    def secret(name: str, file: str) -> SecretReference:
        return SecretReference(file=FileTarget(name=file), secret_id=name, secret_name=name)

    with pytest.raises(InvalidArgument, match="secret references 'a' and 'b' have a conflicting target: 'f'"):
        check_container(secrets=(secret("a", "f"), secret("b", "f")))
    with pytest.raises(InvalidArgument, match="malformed secret reference, no target"):
        check_container(secrets=(SecretReference(secret_id="a", secret_name="a"),))
    with pytest.raises(InvalidArgument, match="malformed secret reference"):
        check_container(secrets=(SecretReference(file=FileTarget(name="f"), secret_name="a"),))


def test_a_mode_is_not_negative() -> None:
    odd = FileTarget(name="f", mode=-1)
    with pytest.raises(InvalidArgument, match="invalid mode -1 of secret 'a'"):
        check_container(secrets=(SecretReference(file=odd, secret_id="a", secret_name="a"),))
    with pytest.raises(InvalidArgument, match="invalid mode -1 of config 'a'"):
        check_container(configs=(ConfigReference(file=odd, config_id="a", config_name="a"),))


def test_configs_are_files_or_part_of_the_container() -> None:
    file, runtime = FileTarget(name="f"), RuntimeTarget()
    one = ConfigReference(file=file, config_id="a", config_name="a")
    with pytest.raises(InvalidArgument, match="config references 'a' and 'a' have a conflicting target: 'f'"):
        check_container(configs=(one, one))
    with pytest.raises(InvalidArgument, match="malformed config reference"):
        check_container(configs=(ConfigReference(config_id="a", config_name="a"),))
    credentials = Privileges(credential_spec=CredentialSpec(config="a"))
    check_container(configs=(ConfigReference(runtime=runtime, config_id="a", config_name="a"),), privileges=credentials)
    with pytest.raises(InvalidArgument, match="CredentialSpec refers to config 'a'"):
        check_container(configs=(one,), privileges=credentials)
    with pytest.raises(InvalidArgument, match="exactly one of"):
        check_container(privileges=Privileges(credential_spec=CredentialSpec(config="a", file="b")))


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(limits=Limits(nano_cpus=999_999)), r"invalid cpu value 0.000999999: Must be at least 0.001"),
        (Resources(reservations=Reservations(nano_cpus=-1)), "invalid cpu value"),
        (Resources(limits=Limits(memory_bytes=(4 << 20) - 1)), "invalid memory value 4194303: Must be at least 4MiB"),
        (Resources(limits=Limits(pids=-2)), "invalid pids limit"),
        (Resources(reservations=Reservations(generic_resources=(GenericResource(),))), "needs a Kind"),
        (
            Resources(reservations=Reservations(generic_resources=(GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu")),))),
            "Value must be positive",
        ),
    ],
)
def test_resources(resources: Resources, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_task(resources=resources)


def test_no_limit_of_processes_is_0_or_as_compose_writes_it_minus_1() -> None:
    for pids in (0, -1):
        check_task(resources=Resources(limits=Limits(pids=pids)))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (RestartPolicy(condition="sometimes"), "invalid RestartPolicy Condition: 'sometimes'"),
        (RestartPolicy(delay=-1), "restart-delay cannot be negative"),
        (RestartPolicy(window=-1), "restart-window cannot be negative"),
        (RestartPolicy(max_attempts=-1), "restart-max-attempts cannot be negative"),
    ],
)
def test_restart_policies(policy: RestartPolicy, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_task(restart_policy=policy)


def test_placement_is_read_before_it_is_kept() -> None:
    check_task(placement=Placement(constraints=("node.role == manager", "node.labels.x!=y")))
    with pytest.raises(InvalidArgument, match=r"invalid constraint 'node\.role=manager'"):
        check_task(placement=Placement(constraints=("node.role=manager",)))
    with pytest.raises(InvalidArgument, match=r"unknown key 'node\.shape'"):
        check_task(placement=Placement(constraints=("node.shape==round",)))
    check_task(placement=Placement(preferences=(PlacementPreference(spread=SpreadOver(spread_descriptor="zone")),)))  # Docker's clients may
    with pytest.raises(InvalidArgument, match="invalid MaxReplicas"):
        check_task(placement=Placement(max_replicas=-1))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (UpdateConfig(delay=-1), "delay cannot be negative"),
        (UpdateConfig(monitor=-1), "monitor cannot be negative"),
        (UpdateConfig(parallelism=-1), "parallelism cannot be negative"),
        (UpdateConfig(max_failure_ratio=-0.1), "maxfailureratio cannot be negative"),
        (UpdateConfig(max_failure_ratio=1.1), "maxfailureratio cannot be greater than 1"),
        (UpdateConfig(failure_action="panic"), "failure action 'panic'"),
        (UpdateConfig(order="random"), "order 'random'"),
    ],
)
def test_update_configs(config: UpdateConfig, words: str) -> None:
    for field in ("update_config", "rollback_config"):
        with pytest.raises(InvalidArgument, match=words):
            check(**{field: config})


def test_a_rollback_cannot_roll_back() -> None:
    check(update_config=UpdateConfig(failure_action="rollback"))
    with pytest.raises(InvalidArgument, match="unrecognized rollback failure action"):
        check(rollback_config=UpdateConfig(failure_action="rollback"))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (ServiceMode(replicated=ReplicatedMode(replicas=-1)), "Number of replicas must be non-negative"),
        (ServiceMode(replicated=ReplicatedMode(replicas=100_001)), "Number of replicas must be at most 100000"),
        (ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=-1)), "Maximum concurrent jobs must be non-negative"),
        (ServiceMode(replicated_job=ReplicatedJobMode(total_completions=-1)), "Total completed jobs must be non-negative"),
        (ServiceMode(replicated=ReplicatedMode(), global_=GlobalMode()), "must specify only one service mode"),
    ],
)
def test_modes(mode: ServiceMode, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(mode=mode)


def test_jobs_do_not_update_nor_restart_forever_nor_publish() -> None:
    job = ServiceMode(replicated_job=ReplicatedJobMode())
    template = TaskSpec(container_spec=ContainerSpec(image="i"), restart_policy=RestartPolicy(condition="any"))
    check(mode=job)
    with pytest.raises(InvalidArgument, match="update and rollback configs"):
        check(mode=job, update_config=UpdateConfig())
    with pytest.raises(InvalidArgument, match="restart condition any"):
        check(mode=job, task_template=template)
    with pytest.raises(InvalidArgument, match="ingress mode are not supported in job mode"):
        check(mode=job, endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80),)))


def test_ports() -> None:
    check_ports(PortConfig(target_port=80), PortConfig(target_port=81), PortConfig(target_port=53, published_port=53, protocol="UDP"))
    with pytest.raises(InvalidArgument, match="duplicate published ports provided: 80/tcp"):
        check_ports(PortConfig(target_port=80, published_port=80), PortConfig(target_port=81, published_port=80, publish_mode="host"))
    with pytest.raises(InvalidArgument, match="can't be used with dnsrr mode"):
        check_ports(PortConfig(target_port=80), mode="dnsrr")
    check_ports(PortConfig(target_port=80, publish_mode="host"), mode="dnsrr")
    with pytest.raises(InvalidArgument, match="invalid ResolutionMode: 'x'"):
        check_ports(mode="x")
    for port, words in (
        (PortConfig(target_port=0), "invalid target port 0"),
        (PortConfig(target_port=65536), "invalid target port"),
        (PortConfig(target_port=1, published_port=65536), "invalid published port"),
        (PortConfig(target_port=1, protocol="icmp"), "invalid protocol 'icmp'"),
        (PortConfig(target_port=1, publish_mode="x"), "invalid publish mode 'x'"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            check_ports(port)


def test_labels_and_environment_are_bounded_and_named() -> None:
    with pytest.raises(InvalidArgument, match="too many"):
        check(labels={str(number): "" for number in range(2001)})
    with pytest.raises(InvalidArgument, match="a label needs a name"):
        check(labels={"": "x"})
    for variable in ("", "=x"):
        with pytest.raises(InvalidArgument, match="invalid environment variable"):
            check_container(env=(variable,))
    with pytest.raises(InvalidArgument, match="drain-timeout"):
        check_service(
            normalized(ServiceSpec(name="w", task_template=TaskSpec(container_spec=ContainerSpec(image="i")))), Extensions(drain_timeout=-1)
        )
