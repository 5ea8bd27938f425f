"""The vocabulary keeps Docker's names, and what one release wrote the next can read."""

import msgspec
import pytest

from cluster.api import errors, ids
from cluster.api.changes import ChangeSet, Put, Remember, Remove, TaskChange, decode_entry, encode_entry
from cluster.api.commands import Command, CreateService
from cluster.api.contracts import CONTRACTS
from cluster.api.objects import Attachment, InvalidTransition, Node, Service, Task, TaskStatus
from cluster.api.specs import ContainerSpec, GlobalMode, Mode, PortConfig, ServiceMode, ServiceSpec, TaskSpec, mode_of, replicas_of
from cluster.api.states import Kind, Role, TaskState
from cluster.api.values import wire_name
from cluster.rpc import server
from cluster.rpc.methods import all_methods, methods_of


@pytest.mark.parametrize(
    ("ours", "docker"),
    [
        ("container_id", "ContainerID"),
        ("dns_config", "DNSConfig"),
        ("tty", "TTY"),
        ("uid", "UID"),
        ("stop_grace_period", "StopGracePeriod"),
        ("oom_score_adj", "OomScoreAdj"),
        ("virtual_ips", "VirtualIPs"),
        ("network_id", "NetworkID"),
    ],
)
def test_wire_names_are_dockers(ours: str, docker: str) -> None:
    assert wire_name(ours) == docker


def test_a_spec_as_a_client_posts_it_comes_back_with_the_same_members() -> None:
    posted = {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx", "TTY": True, "Healthcheck": {"Test": ["CMD", "true"]}, "Init": False}},
        "Mode": {"Global": {}},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}]},
    }
    assert msgspec.json.decode(msgspec.json.encode(msgspec.convert(posted, ServiceSpec))) == posted


def test_no_mode_is_one_replica_and_zero_replicas_is_none() -> None:
    assert (mode_of(ServiceSpec()), replicas_of(ServiceSpec())) == (Mode.REPLICATED, 1)
    none = msgspec.convert({"Mode": {"Replicated": {"Replicas": 0}}}, ServiceSpec)
    assert replicas_of(none) == 0
    assert mode_of(ServiceSpec(mode=ServiceMode(global_=GlobalMode()))) is Mode.GLOBAL


def test_a_tasks_state_only_goes_forward() -> None:
    task = Task(id="t", status=TaskStatus(state=TaskState.RUNNING))
    assert task.advance(TaskStatus(state=TaskState.FAILED)).state is TaskState.FAILED
    with pytest.raises(InvalidTransition, match="running and cannot become preparing"):
        task.advance(TaskStatus(state=TaskState.PREPARING))


# One entry of each kind of change, as release 0.1.0 writes it: every later release must read these bytes.
def entry_of_every_change() -> ChangeSet:
    spec = ServiceSpec(name="web", task_template=TaskSpec(container_spec=ContainerSpec(image="nginx")))
    return ChangeSet(
        at=1_700_000_000_000_000_000,
        changes=(
            Put(object=Node(id="n1")),
            Put(object=Service(id="s1", spec=spec), base=7),
            Remove(kind=Kind.TASK, id="t0"),
            TaskChange(
                id="t1",
                node_id="n1",
                desired_state=TaskState.RUNNING,
                status=TaskStatus(state=TaskState.RUNNING, ports=(PortConfig(target_port=80),)),
                attachments=(Attachment(network_id="net", address="10.0.1.3/24"),),
            ),
            Remember(request_id="r1", object_id="s1"),
        ),
    )


WRITTEN_BY_0_1_0 = bytes.fromhex(
    "83a16501a26174cf17979cfe362a0000a76368616e6765739582a16301a66f626a65637482a174a46e6f6465a24944a26e3183a16301a66f626a65637483a174a7"
    "73657276696365a24944a27331a45370656382a44e616d65a3776562ac5461736b54656d706c61746581ad436f6e7461696e657253706563de0001a5496d616765"
    "a56e67696e78a4626173650783a16302a46b696e64a47461736ba26964a2743086a16303a26964a27431ad646573697265645f7374617465cd0200a76e6f64655f"
    "6964a26e31a673746174757382a55374617465cd0200a5506f7274739181aa546172676574506f727450ab6174746163686d656e74739182a94e6574776f726b49"
    "44a36e6574a741646472657373ab31302e302e312e332f323483a16304aa726571756573745f6964a27231a96f626a6563745f6964a27331"
)


def test_the_entries_of_release_0_1_0_can_still_be_read() -> None:
    assert decode_entry(WRITTEN_BY_0_1_0) == entry_of_every_change()


def test_an_entry_survives_its_own_encoding() -> None:
    entry = entry_of_every_change()
    assert decode_entry(encode_entry(entry)) == entry


def test_a_field_that_a_later_release_adds_does_not_stop_this_one() -> None:
    later = msgspec.msgpack.encode({"e": 1, "at": 5, "changes": [{"c": 2, "kind": "task", "id": "t", "why": "new field"}], "more": 1})
    assert decode_entry(later) == ChangeSet(at=5, changes=(Remove(kind=Kind.TASK, id="t"),))


def test_an_entry_of_an_unknown_type_is_an_error_never_skipped() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_entry(msgspec.msgpack.encode({"e": 99, "at": 5}))


def test_ids_are_25_characters_of_base_36() -> None:
    assert ids.from_bytes(b"\xff" * 16) == "f5lxx1zz5pnorynqglhzmsp33"
    assert ids.from_bytes(b"\0" * 16) == "0" * 25
    assert ids.is_id(ids.from_bytes(b"x" * 16))
    assert not ids.is_id("short")


@pytest.mark.parametrize("code", sorted(errors.CODES))
def test_an_error_crosses_a_wire_as_its_class(code: str) -> None:
    error = errors.from_code(code, "what, why, what to do")
    assert errors.code_of(error) == code
    assert str(error) == "what, why, what to do"


def test_a_more_special_error_travels_as_its_nearest_named_class() -> None:
    assert errors.code_of(errors.NoLeader()) == "no_leader"
    assert str(errors.from_code("no_leader", str(errors.NoLeader("why")))) == str(errors.NoLeader("why"))
    assert errors.code_of(errors.StaleSnapshot("x")) == "internal"


def test_every_code_has_a_status_of_its_transport() -> None:
    assert server._STATUS.keys() == errors.CODES.keys()


def test_a_stale_update_is_one_on_every_manager_in_the_same_words() -> None:
    stale = errors.OutOfSequence("service x")
    passed_on = errors.from_code(errors.code_of(stale), str(stale))
    assert isinstance(passed_on, errors.OutOfSequence)
    assert str(passed_on) == str(stale)


def test_every_rpc_says_who_may_call_it() -> None:
    methods = all_methods()
    assert {method.contract for method in methods} == {contract.__name__ for contract in CONTRACTS}
    assert all(method.roles for method in methods)
    workers = {f"{method.contract}.{method.name}" for method in methods if Role.WORKER in method.roles}
    streams = {"Dispatcher.session", "Streams.publish", "Conversations.converse"}
    assert workers == streams | {"Guests.attach", "Guests.detach", "Membership.leave", "NodeCA.renew"}


def test_a_contract_method_without_roles_is_found_at_start() -> None:
    class Open:
        async def anyone(self, caller: object, request: object) -> object: ...

    with pytest.raises(TypeError, match="does not say which roles"):
        methods_of(Open)


def test_commands_travel_as_the_class_they_are() -> None:
    command = CreateService(id="x" * 25, spec=ServiceSpec(name="web"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=Command) == command
