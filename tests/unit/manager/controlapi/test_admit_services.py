"""Services are admitted as Docker would, normalized, with what they refer to expected still to be there."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Expect, ExpectPorts, Put, Remember
from cluster.api.commands import CreateService, RemoveService, UpdateService
from cluster.api.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, NotSupported, OutOfSequence
from cluster.api.objects import Config, Network, Secret, Service
from cluster.api.specs import (
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    EndpointSpec,
    Extensions,
    FileTarget,
    GlobalMode,
    Mount,
    NetworkAttachmentConfig,
    NetworkSpec,
    Placement,
    PlacementPreference,
    PortConfig,
    ReplicatedJobMode,
    ReplicatedMode,
    SecretReference,
    SecretSpec,
    ServiceMode,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
)
from cluster.api.states import Kind, UpdateState
from manager.controlapi.admission import Admission
from manager.controlapi.admit import admit
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def web(image: str = "nginx", **fields: object) -> ServiceSpec:
    container = fields.pop("container", ContainerSpec(image=image))
    networks = tuple(NetworkAttachmentConfig(target=target) for target in fields.pop("networks", ()))
    ports = fields.pop("ports", ())
    return ServiceSpec(
        **{
            "name": "web",
            "task_template": TaskSpec(container_spec=container, networks=networks),
            "endpoint_spec": EndpointSpec(ports=ports) if ports else None,
            **fields,
        }
    )


def put(now: Snapshot, *changes: Change) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def done(now: Snapshot, command: CreateService | UpdateService | RemoveService) -> Snapshot:
    return put(now, *admit(now, command).changes)


def only_put(admission: Admission) -> Service:
    [service] = [change.object for change in admission.changes if isinstance(change, Put)]
    assert isinstance(service, Service)
    return service


SWARM = put(
    EMPTY_SNAPSHOT,
    Put(object=Network(id="net1", spec=NetworkSpec(name="front"))),
    Put(object=Network(id="ing", spec=NetworkSpec(name="ingress", ingress=True))),
    Put(object=Secret(id="sec1", spec=SecretSpec(name="cert", data=b"x"))),
    Put(object=Config(id="con1", spec=ConfigSpec(name="conf", data=b"x"))),
)


def test_a_service_is_kept_as_docker_would_show_it() -> None:
    port = PortConfig(target_port=80, published_port=8080)
    spec = ServiceSpec(
        name="web",
        task_template=TaskSpec(container_spec=ContainerSpec(image="nginx", mounts=(Mount(source="/etc", target="/x"),))),
        networks=(NetworkAttachmentConfig(target="front", aliases=("w",)),),
        endpoint_spec=EndpointSpec(ports=(port,)),
    )
    admission = admit(SWARM, CreateService(id="s1", spec=spec, registry_auth="auth"))
    service = only_put(admission)
    assert service.spec.mode == ServiceMode(replicated=ReplicatedMode(replicas=1))
    assert service.spec.task_template.networks == (NetworkAttachmentConfig(target="net1", aliases=("w",)),)
    assert service.spec.networks == service.spec.task_template.networks, "given back where it was given"
    assert service.spec.endpoint_spec is not None
    assert service.spec.endpoint_spec.ports == (replace(port, protocol="tcp", publish_mode="ingress"),)
    assert service.spec.task_template.container_spec is not None
    assert service.spec.task_template.container_spec.mounts[0].type == "bind"
    assert (service.spec.update_config, service.registry_auth, service.job_status) == (None, "auth", None)
    assert admission.changes[:3] == (
        Expect(kind=Kind.NETWORK, id="net1"),
        Expect(kind=Kind.NETWORK, id="ing"),
        ExpectPorts(service_id="s1", ports=service.spec.endpoint_spec.ports),
    )


def test_a_retried_create_is_answered_not_refused() -> None:
    command = CreateService(id="s1", spec=web())
    now = done(SWARM, command)
    assert admit(now, command) == Admission(id="s1")


def test_a_preference_that_no_node_has_a_value_for_is_passed_over_with_a_word() -> None:
    wish = Placement(
        preferences=tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=one)) for one in ("zone", "node.labels.zone"))
    )
    spec = web()
    command = CreateService(id="s1", spec=replace(spec, task_template=replace(spec.task_template, placement=wish)))
    assert admit(SWARM, command).warnings == ("placement preference 'zone' is passed over: use node.labels.NAME or engine.labels.NAME",)


def test_a_taken_name_is_a_conflict() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    with pytest.raises(Conflict, match="name conflicts with an existing object: service WEB already exists"):
        admit(now, CreateService(id="s2", spec=web(name="WEB")))


def test_networks_of_the_node_itself_need_no_object() -> None:
    service = only_put(admit(SWARM, CreateService(id="s1", spec=web(networks=("host",)))))
    assert service.spec.task_template.networks[0].target == "host"


@pytest.mark.parametrize(
    ("networks", "error", "words"),
    [
        (("nowhere",), NotFound, "network nowhere not found"),
        (("ingress",), InvalidArgument, 'cannot be explicitly attached to the ingress network "ingress"'),
        (("front", "net1"), InvalidArgument, "is given more than once"),
    ],
)
def test_networks_must_be_there_and_usable(networks: tuple[str, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        admit(SWARM, CreateService(id="s1", spec=web(networks=networks)))


def test_secrets_and_configs_are_referred_to_by_id_and_name() -> None:
    def container(secret_id: str, secret_name: str, config_name: str = "conf") -> ContainerSpec:
        return ContainerSpec(
            image="i",
            secrets=(SecretReference(file=FileTarget(name="f"), secret_id=secret_id, secret_name=secret_name),),
            configs=(ConfigReference(file=FileTarget(name="/f"), config_id="con1", config_name=config_name),),
        )

    admission = admit(SWARM, CreateService(id="s1", spec=web(container=container("sec1", "cert"))))
    assert admission.changes[:2] == (Expect(kind=Kind.SECRET, id="sec1"), Expect(kind=Kind.CONFIG, id="con1"))
    for wrong in (container("sec9", "cert"), container("sec1", "crt")):
        with pytest.raises(InvalidArgument, match=r"secret not found: (cert|crt)$"):
            admit(SWARM, CreateService(id="s1", spec=web(container=wrong)))
    with pytest.raises(InvalidArgument, match="config not found: other"):
        admit(SWARM, CreateService(id="s1", spec=web(container=container("sec1", "cert", "other"))))


# -- ports -----------------------------------------------------------------------------------------------------------------------------
INGRESS = PortConfig(target_port=80, published_port=30080)
HOST = PortConfig(target_port=80, published_port=30080, publish_mode="host")


def test_a_published_port_belongs_to_one_service() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web(name="x", ports=(INGRESS,))))
    words = r"port '30080' is already in use by service 'x' \(s1\) as an ingress port"
    for port in (INGRESS, HOST):
        with pytest.raises(InvalidArgument, match=words):
            admit(now, CreateService(id="s2", spec=web(ports=(port,))))
    admit(now, CreateService(id="s2", spec=web(ports=(replace(INGRESS, protocol="udp"),))))


def test_host_mode_ports_keep_ingress_away_but_not_one_another() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web(name="x", ports=(HOST,))))
    with pytest.raises(InvalidArgument, match=r"already in use by service 'x' \(s1\) as a host-published port"):
        admit(now, CreateService(id="s2", spec=web(ports=(INGRESS,))))
    admit(now, CreateService(id="s2", spec=web(ports=(HOST,))))


def test_a_service_may_keep_its_own_port() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web(ports=(INGRESS,))))
    version = now.services["s1"].version
    admit(now, UpdateService(request_id="r", id="s1", version=version, spec=web("nginx:2", ports=(INGRESS,))))


# -- updates ---------------------------------------------------------------------------------------------------------------------------
def test_an_update_keeps_what_it_does_not_give() -> None:
    create = CreateService(id="s1", spec=web(), extensions=Extensions(drain_timeout=7), registry_auth="auth")
    now = done(SWARM, create)
    service = only_put(admit(now, UpdateService(request_id="r", id="s1", version=2, spec=web("nginx:2"))))
    assert (service.registry_auth, service.extensions.drain_timeout) == ("auth", 7)
    assert service.previous_spec == now.services["s1"].spec
    given = UpdateService(request_id="r", id="s1", version=2, spec=web("b"), extensions=Extensions(), registry_auth="new")
    service = only_put(admit(now, given))
    assert (service.registry_auth, service.extensions.drain_timeout) == ("new", None)


def test_a_version_older_than_the_last_change_of_the_spec_is_out_of_sequence() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        admit(now, UpdateService(request_id="r", id="s1", version=1, spec=web("b")))


def test_changes_of_others_than_the_spec_do_not_disturb_an_update() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    read_at = now.services["s1"].version
    now = put(now, Put(object=replace(now.services["s1"], pending_reason="no ports left"), base=read_at))
    assert now.services["s1"].version > read_at
    service = only_put(admit(now, UpdateService(request_id="r", id="s1", version=read_at, spec=web("b"))))
    assert service.pending_reason == ""


def test_a_retried_update_is_answered_not_out_of_sequence() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    command = UpdateService(request_id="r", id="s1", version=2, spec=web("b"))
    now = done(now, command)
    assert admit(now, command) == Admission(id="s1")
    assert Remember(request_id="r", object_id="s1") in admit(done(SWARM, CreateService(id="s1", spec=web())), command).changes


def test_name_and_mode_stay() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    with pytest.raises(NotSupported, match="renaming services is not supported"):
        admit(now, UpdateService(request_id="r", id="s1", version=2, spec=web(name="x")))
    with pytest.raises(NotSupported, match="service mode change is not allowed"):
        admit(now, UpdateService(request_id="r", id="s1", version=2, spec=web(mode=ServiceMode(global_=GlobalMode()))))
    with pytest.raises(InvalidArgument, match="unsupported registryAuthFrom value x"):
        admit(now, UpdateService(request_id="r", id="s1", version=2, spec=web(), registry_auth_from="x"))


def test_a_rollback_goes_back_once() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web("a")))
    back = UpdateService(request_id="r2", id="s1", version=2, spec=ServiceSpec(), rollback=True)
    with pytest.raises(FailedPrecondition, match="service s1 does not have a previous spec"):
        admit(now, back)
    first = now.services["s1"].spec
    now = done(now, UpdateService(request_id="r1", id="s1", version=2, spec=web("b")))
    now = done(now, replace(back, version=now.version))
    service = now.services["s1"]
    assert service.spec == first
    assert service.previous_spec is None
    assert service.update_status is not None
    assert service.update_status.state is UpdateState.ROLLBACK_STARTED
    with pytest.raises(FailedPrecondition, match="does not have a previous spec"):
        admit(now, replace(back, version=now.version, request_id="r3"))


def test_a_job_runs_again_when_its_spec_changes() -> None:
    job = ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=3))
    now = done(SWARM, CreateService(id="s1", spec=web(mode=job)))
    assert now.services["s1"].spec.mode.replicated_job == ReplicatedJobMode(max_concurrent=3, total_completions=3)
    status = now.services["s1"].job_status
    assert status is not None
    assert status.job_iteration == 0
    now = done(now, UpdateService(request_id="a", id="s1", version=2, spec=web("b", mode=job)))
    now = done(now, UpdateService(request_id="b", id="s1", version=now.version, spec=web("b", mode=job)))
    status = now.services["s1"].job_status
    assert status is not None
    assert status.job_iteration == 1
    now = done(now, UpdateService(request_id="c", id="s1", version=now.version, spec=ServiceSpec(), rollback=True))
    assert now.services["s1"].job_status.job_iteration == 2
    assert now.services["s1"].update_status is None


def test_a_service_is_removed_once_and_a_retry_is_answered() -> None:
    now = done(SWARM, CreateService(id="s1", spec=web()))
    now = done(now, RemoveService(id="s1"))
    assert "s1" not in now.services
    assert admit(now, RemoveService(id="s1")) == Admission(id="s1")
    with pytest.raises(NotFound, match="service s9 not found"):
        admit(now, RemoveService(id="s9"))
