"""Nodes, networks, secrets, configs, the cluster: what may be asked of them, and in whose words it is refused."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Expect, Put
from cluster.api.commands import (
    Command,
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    RemoveConfig,
    RemoveNetwork,
    RemoveNode,
    RemoveSecret,
    UpdateCluster,
    UpdateConfigObject,
    UpdateNode,
    UpdateSecret,
)
from cluster.api.errors import Conflict, FailedPrecondition, Forbidden, InvalidArgument, NotFound, NotSupported, OutOfSequence
from cluster.api.objects import Attachment, Cluster, JoinTokens, Network, Node, NodeStatus, RaftMember, Service, Task
from cluster.api.specs import (
    IPAM,
    CAConfig,
    ClusterSpec,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    DispatcherConfig,
    DriverConfig,
    EncryptionConfig,
    EndpointSpec,
    ExternalCA,
    IPAMConfig,
    NetworkAttachmentConfig,
    NetworkSpec,
    NodeSpec,
    OrchestrationConfig,
    PortConfig,
    RaftSettings,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Availability, Kind, NodeState, Role, TaskState
from manager.controlapi.admission import Admission
from manager.controlapi.admit import admit
from manager.dispatcher.assign import overlay
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def put(*changes: Change, now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def done(now: Snapshot, command: Command) -> Snapshot:
    return put(*admit(now, command).changes, now=now)


def manager(node_id: str, state: NodeState = NodeState.READY) -> Put:
    member = RaftMember(addr=f"{node_id}:2377")
    return Put(object=Node(id=node_id, spec=NodeSpec(role=Role.MANAGER), member=member, status=NodeStatus(state=state)))


def worker(node_id: str, state: NodeState = NodeState.READY) -> Put:
    return Put(object=Node(id=node_id, status=NodeStatus(state=state)))


# -- nodes -----------------------------------------------------------------------------------------------------------------------------
def test_a_node_is_updated_against_the_version_of_its_spec() -> None:
    now = put(worker("n1"))
    command = UpdateNode(request_id="r", id="n1", version=1, spec=NodeSpec(availability=Availability.DRAIN, labels={"a": "b"}))
    now = put(Put(object=replace(now.nodes["n1"], status=NodeStatus(state=NodeState.DOWN)), base=1), now=now)
    now = done(now, command)
    assert now.nodes["n1"].spec == command.spec
    assert admit(now, command) == Admission(id="n1")
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        admit(now, replace(command, request_id="r2"))
    with pytest.raises(NotFound, match="node n9 not found"):
        admit(now, replace(command, request_id="r2", id="n9"))


def test_the_last_manager_cannot_be_demoted() -> None:
    demote = UpdateNode(request_id="r", id="m1", version=9, spec=NodeSpec())
    with pytest.raises(FailedPrecondition, match="attempting to demote the last manager of the swarm"):
        admit(put(manager("m1"), worker("n1")), demote)
    with pytest.raises(FailedPrecondition, match="loss of quorum"):
        admit(put(manager("m1"), manager("m2", NodeState.DOWN)), demote)


def test_two_managers_demoted_at_once_do_not_count_on_each_other() -> None:
    now = put(manager("m1"), manager("m2"))
    first = admit(now, UpdateNode(request_id="r1", id="m1", version=9, spec=NodeSpec()))
    second = admit(now, UpdateNode(request_id="r2", id="m2", version=9, spec=NodeSpec()))
    assert first.changes[0] == Expect(kind=Kind.NODE, id="m2", base=1)
    now = put(*first.changes, now=now)
    _, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=second.changes))
    assert refusal is not None


def test_only_a_node_that_is_gone_can_be_forgotten() -> None:
    now = put(manager("m1"), worker("n1"), worker("n2", NodeState.DOWN))
    with pytest.raises(FailedPrecondition, match=r"is a cluster manager and is a member of the raft cluster\. It must be demoted"):
        admit(now, RemoveNode(id="m1", force=True))
    with pytest.raises(FailedPrecondition, match="node n1 is not down and can't be removed"):
        admit(now, RemoveNode(id="n1"))
    now = done(done(now, RemoveNode(id="n1", force=True)), RemoveNode(id="n2"))
    assert list(now.nodes) == ["m1"]
    assert admit(now, RemoveNode(id="n2")) == Admission(id="n2")


def test_the_tasks_of_a_forgotten_node_are_orphans() -> None:
    now = put(worker("n1", NodeState.DOWN), Put(object=Service(id="s", spec=ServiceSpec(name="web"))))
    now = put(Put(object=Task(id="t", service_id="s", template_version=1, node_id="n1")), now=now)
    now = done(now, RemoveNode(id="n1"))
    assert now.tasks["t"].state is TaskState.ORPHANED
    assert now.tasks["t"].status.timestamp == 1


# -- networks --------------------------------------------------------------------------------------------------------------------------
def network(name: str = "front", **fields: object) -> CreateNetwork:
    return CreateNetwork(id=f"id-{name}", spec=NetworkSpec(name=name, **fields))


def subnet(cidr: str, **fields: str) -> IPAM:
    return IPAM(config=(IPAMConfig(subnet=cidr, **fields),))


def test_a_network_is_made_once() -> None:
    now = done(EMPTY_SNAPSHOT, network())
    assert admit(now, network()) == Admission(id="id-front")
    with pytest.raises(Conflict, match="network with name front already exists"):
        admit(now, replace(network(), id="other"))
    now = done(now, network("ingress", ingress=True))
    with pytest.raises(Conflict, match=r"ingress network \(id-ingress\) is already present"):
        admit(now, network("more", ingress=True))


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (network("host"), Forbidden, "operation is not permitted on predefined host network"),
        (network("a.b"), InvalidArgument, "DNS name component"),
        (network(driver="macvlan"), InvalidArgument, "driver 'macvlan' is not supported"),
        (network(ingress=True, attachable=True), InvalidArgument, "ingress network cannot be attachable"),
        (network(ingress=True, internal=True), InvalidArgument, "ingress network cannot be internal"),
        (network(enable_ipv4=False), InvalidArgument, "needs IPv4"),
        (network(ingress=True, options={"encrypted": ""}), NotSupported, "the ingress network cannot be encrypted"),
        (network(ipam=IPAM(driver="x")), InvalidArgument, "IPAM driver 'x'"),
        (network(ipam=subnet("10.1")), InvalidArgument, "invalid subnet 10.1"),
        (network(ipam=subnet("10.0.0.0/30")), InvalidArgument, "prefix must be between"),
        (network(ipam=subnet("10.1.0.0/24", gateway="10.2.0.1")), InvalidArgument, "invalid gateway 10.2.0.1"),
        (network(ipam=subnet("10.1.0.0/24", gateway="x")), InvalidArgument, "invalid gateway x"),
        (network(ipam=subnet("10.1.0.0/24", ip_range="10.2.0.0/25")), InvalidArgument, "invalid ip-range"),
        (network(ipam=subnet("", gateway="10.2.0.1")), InvalidArgument, "need a subnet"),
        (network(ipam=IPAM(config=(IPAMConfig(subnet="10.1.0.0/24"), IPAMConfig(subnet="10.2.0.0/24")))), InvalidArgument, "one IPv4"),
    ],
)
def test_networks_that_cannot_be(command: CreateNetwork, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        admit(EMPTY_SNAPSHOT, command)


@pytest.mark.parametrize(("value", "encrypted"), [("", True), ("true", True), ("1", True), ("false", False), ("0", False)])
def test_an_overlay_is_encrypted_when_its_options_say_so(value: str, encrypted: bool) -> None:
    now = done(EMPTY_SNAPSHOT, network(options={"encrypted": value}))
    assert overlay(now.networks["id-front"]).encrypted is encrypted
    assert now.networks["id-front"].spec.options == {"encrypted": value}


def test_a_subnet_is_given_once() -> None:
    now = put(Put(object=Network(id="n", spec=NetworkSpec(name="n"), subnet="10.1.0.0/24")))
    with pytest.raises(InvalidArgument, match=r"subnet 10.1.0.0/16 overlaps with network n \(10.1.0.0/24\)"):
        admit(now, network(ipam=subnet("10.1.0.0/16")))
    now = done(now, network(ipam=subnet("10.2.0.0/24", gateway="10.2.0.1", ip_range="10.2.0.0/25")))
    with pytest.raises(InvalidArgument, match="overlaps with network front"):
        admit(now, network("other", ipam=subnet("10.2.0.0/24")))


def test_what_a_network_will_not_give_is_said() -> None:
    assert admit(EMPTY_SNAPSHOT, network(enable_ipv6=True)).warnings == (
        "network front: IPv6 is not provided; tasks get IPv4 addresses only",
    )
    assert admit(EMPTY_SNAPSHOT, network()).warnings == ()


def test_a_network_in_use_stays() -> None:
    now = done(EMPTY_SNAPSHOT, network())
    template = TaskSpec(networks=(NetworkAttachmentConfig(target="id-front"),))
    used = put(Put(object=Service(id="s", spec=ServiceSpec(name="web", task_template=template))), now=now)
    with pytest.raises(FailedPrecondition, match="network front is in use by service web"):
        admit(used, RemoveNetwork(id="id-front"))
    task = Task(id="t", service_id="s", template_version=2, attachments=(Attachment(network_id="id-front", address="10.0.0.3/24"),))
    left = put(Put(object=task), now=used)
    left = put(Put(object=replace(left.services["s"], spec=ServiceSpec(name="web")), base=2), now=left)
    with pytest.raises(FailedPrecondition, match="network front is in use by task t"):
        admit(left, RemoveNetwork(id="id-front"))
    now = done(now, RemoveNetwork(id="id-front"))
    assert admit(now, RemoveNetwork(id="id-front")) == Admission(id="id-front")
    with pytest.raises(NotFound, match="network x not found"):
        admit(now, RemoveNetwork(id="x"))


def test_the_ingress_network_stays_while_somebody_publishes() -> None:
    now = done(EMPTY_SNAPSHOT, network("ingress", ingress=True))
    template = TaskSpec(container_spec=ContainerSpec(image="a"))
    spec = ServiceSpec(
        name="web", task_template=template, endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, published_port=80),))
    )
    with pytest.raises(FailedPrecondition, match="ingress network cannot be removed because service web depends on it"):
        admit(put(Put(object=Service(id="s", spec=spec)), now=now), RemoveNetwork(id="id-ingress"))
    without = done(now, RemoveNetwork(id="id-ingress"))
    with pytest.raises(FailedPrecondition, match="no ingress network is present: create one with network create"):
        admit(without, CreateService(id="s", spec=spec))
    inside = replace(spec, endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, published_port=80, publish_mode="host"),)))
    assert admit(without, CreateService(id="s", spec=inside)).id == "s"


# -- secrets and configs ---------------------------------------------------------------------------------------------------------------
def secret(name: str = "cert", data: bytes = b"x", **fields: object) -> CreateSecret:
    return CreateSecret(id=f"id-{name}", spec=SecretSpec(name=name, data=data, **fields))


def config(name: str = "conf", data: bytes = b"x", **fields: object) -> CreateConfig:
    return CreateConfig(id=f"id-{name}", spec=ConfigSpec(name=name, data=data, **fields))


def test_secrets_and_configs_are_made_once() -> None:
    now = done(done(EMPTY_SNAPSHOT, secret()), config())
    assert admit(now, secret()) == Admission(id="id-cert")
    assert admit(now, config()) == Admission(id="id-conf")
    with pytest.raises(Conflict, match="secret cert already exists"):
        admit(now, replace(secret(), id="other"))
    with pytest.raises(Conflict, match="config conf already exists"):
        admit(now, replace(config(), id="other"))


def test_secrets_hold_up_to_500_and_configs_up_to_1000_kib() -> None:
    admit(EMPTY_SNAPSHOT, secret(data=b"x" * (500 * 1024 - 1)))
    admit(EMPTY_SNAPSHOT, config(data=b"x" * (1000 * 1024 - 1)))
    for data in (b"", b"x" * 500 * 1024):
        with pytest.raises(InvalidArgument, match="secret data must be larger than 0 and less than 512000 bytes"):
            admit(EMPTY_SNAPSHOT, secret(data=data))
    for data in (b"", b"x" * 1000 * 1024):
        with pytest.raises(InvalidArgument, match="config data must be larger than 0 and less than 1024000 bytes"):
            admit(EMPTY_SNAPSHOT, config(data=data))


def test_their_names_are_those_of_files() -> None:
    admit(EMPTY_SNAPSHOT, secret("my.secret_v-1"))
    for name in ("", ".a", "a.", "a/b", "a" * 65):
        with pytest.raises(InvalidArgument, match=r"only 64 \[a-zA-Z0-9-_.\] characters allowed"):
            admit(EMPTY_SNAPSHOT, secret(name))
    with pytest.raises(NotSupported, match="secret drivers are not supported"):
        admit(EMPTY_SNAPSHOT, secret(driver=DriverConfig(name="vault")))
    with pytest.raises(InvalidArgument, match="template driver 'x' is not supported"):
        admit(EMPTY_SNAPSHOT, config(templating=DriverConfig(name="x")))


def test_only_their_labels_change() -> None:
    now = done(done(EMPTY_SNAPSHOT, secret()), config())
    change = UpdateSecret(request_id="r1", id="id-cert", version=1, spec=SecretSpec(name="cert", labels={"a": "b"}))
    now = done(now, change)
    assert now.secrets["id-cert"].spec == SecretSpec(name="cert", labels={"a": "b"}, data=b"x")
    assert admit(now, change) == Admission(id="id-cert")
    for spec in (SecretSpec(name="cert", data=b"y"), SecretSpec(name="other")):
        with pytest.raises(InvalidArgument, match="only updates to Labels are allowed"):
            admit(now, UpdateSecret(request_id="r2", id="id-cert", version=9, spec=spec))
    with pytest.raises(OutOfSequence):
        admit(now, replace(change, request_id="r2"))
    relabel = UpdateConfigObject(request_id="r3", id="id-conf", version=2, spec=ConfigSpec(name="conf", labels={"c": "d"}, data=b"x"))
    now = done(now, relabel)
    assert now.configs["id-conf"].spec.labels == {"c": "d"}
    with pytest.raises(InvalidArgument, match="only updates to Labels are allowed"):
        admit(now, replace(relabel, request_id="r4", version=9, spec=ConfigSpec(name="conf", data=b"y")))
    with pytest.raises(OutOfSequence):
        admit(now, replace(relabel, request_id="r4"))


def test_they_stay_while_a_service_uses_them() -> None:
    now = done(done(EMPTY_SNAPSHOT, secret()), config())
    container = ContainerSpec(
        image="i",
        secrets=(SecretReference(secret_id="id-cert", secret_name="cert"),),
        configs=(ConfigReference(config_id="id-conf", config_name="conf"),),
    )

    def user(name: str) -> Put:
        return Put(object=Service(id=name, spec=ServiceSpec(name=name, task_template=TaskSpec(container_spec=container))))

    with pytest.raises(InvalidArgument, match="secret 'cert' is in use by the following service: web"):
        admit(put(user("web"), now=now), RemoveSecret(id="id-cert"))
    with pytest.raises(InvalidArgument, match="config 'conf' is in use by the following services: api, web"):
        admit(put(user("web"), user("api"), now=now), RemoveConfig(id="id-conf"))
    gone = done(done(now, RemoveSecret(id="id-cert")), RemoveConfig(id="id-conf"))
    assert (len(gone.secrets), len(gone.configs)) == (0, 0)
    with pytest.raises(NotFound, match="secret x not found"):
        admit(now, RemoveSecret(id="x"))
    with pytest.raises(NotFound, match="config x not found"):
        admit(now, RemoveConfig(id="x"))


# -- the cluster -----------------------------------------------------------------------------------------------------------------------
SWARM = put(Put(object=Cluster(id="c", join_tokens=JoinTokens(worker="SWMTKN-1-dig-old", manager="SWMTKN-1-dig-old2"))))


def change(spec: ClusterSpec | None = None, **fields: object) -> UpdateCluster:
    return UpdateCluster(**{"request_id": "r", "version": 1, "spec": spec or ClusterSpec(), **fields})


def test_tokens_are_rotated_one_by_one() -> None:
    now = done(SWARM, change(rotate_worker_token="new"))
    assert now.cluster is not None
    assert now.cluster.join_tokens == JoinTokens(worker="SWMTKN-1-dig-new", manager="SWMTKN-1-dig-old2")
    assert admit(now, change(rotate_worker_token="new")) == Admission(id="c")


def test_autolock_begins_with_a_key_keeps_it_and_ends_without() -> None:
    locked = ClusterSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))

    def key(now: Snapshot) -> str:
        assert now.cluster is not None
        return now.cluster.unlock_key

    on = done(SWARM, change(locked, unlock_key="one"))
    same = done(on, change(locked, unlock_key="two", request_id="r2", version=9))
    other = done(same, change(locked, unlock_key="three", request_id="r3", rotate_unlock_key=True, version=9))
    off = done(other, change(unlock_key="four", request_id="r4", rotate_unlock_key=True, version=9))
    again = done(off, change(locked, unlock_key="five", request_id="r5", version=9))
    assert [key(now) for now in (on, same, other, off, again)] == ["one", "one", "three", "", "five"]


def test_settings_are_changed_against_the_version_of_the_spec() -> None:
    spec = ClusterSpec(orchestration=OrchestrationConfig(task_history_retention_limit=2))
    now = done(SWARM, change(spec))
    assert now.cluster is not None
    assert now.cluster.spec == spec
    with pytest.raises(OutOfSequence):
        admit(now, UpdateCluster(request_id="r2", version=1, spec=spec))
    with pytest.raises(NotFound):
        admit(EMPTY_SNAPSHOT, change())


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        (ClusterSpec(name="x"), InvalidArgument, "name cannot be changed"),
        (ClusterSpec(labels={"io.shoal.rebalance": "all"}), InvalidArgument, "'all' is no number"),
        (ClusterSpec(orchestration=OrchestrationConfig(task_history_retention_limit=-1)), InvalidArgument, "retention limit"),
        (ClusterSpec(dispatcher=DispatcherConfig(heartbeat_period=0)), InvalidArgument, "heartbeat time period"),
        (ClusterSpec(ca_config=CAConfig(node_cert_expiry=1)), InvalidArgument, "minimum certificate expiry time is: 1h0m0s"),
        (ClusterSpec(ca_config=CAConfig(external_cas=(ExternalCA(url="http://x"),))), InvalidArgument, "must begin with https"),
        (ClusterSpec(ca_config=CAConfig(external_cas=(ExternalCA(protocol="x", url="https://x"),))), InvalidArgument, "only protocol"),
        (ClusterSpec(raft=RaftSettings(election_tick=1)), InvalidArgument, "election tick must be greater"),
        (ClusterSpec(raft=RaftSettings(snapshot_interval=0)), InvalidArgument, "snapshot interval"),
    ],
)
def test_settings_that_cannot_be(spec: ClusterSpec, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        admit(SWARM, change(spec))
