"""No message is over 4 MiB, and the parts say what the whole said."""

import msgspec

from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask, Assignments, Endpoints
from cluster.api.endpoint import Backend, EndpointUpdate, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.specs import ContainerSpec, PortConfig, TaskSpec
from cluster.api.states import TaskState
from manager.dispatcher.chunks import PART_BYTES, assignment_parts, endpoint_parts

LIMIT = 4 << 20


def size(message: Assignments | Endpoints) -> int:
    return len(msgspec.msgpack.encode(message))


def big_task(number: int) -> AssignedTask:
    container = ContainerSpec(image="i", args=("x" * 100_000,))
    return AssignedTask(
        id=f"t{number}", service_id="s", service_name="s", slot=number, node_id="n",
        spec=TaskSpec(container_spec=container), desired_state=TaskState.RUNNING,
    )  # fmt: skip


def test_a_small_message_is_itself() -> None:
    message = Assignments(version=3, complete=True, tasks=(big_task(1),))
    assert assignment_parts(message) == [message]
    update = EndpointUpdate(version=3, complete=True)
    assert endpoint_parts(update) == [Endpoints(update=update)]


def test_large_assignments_come_in_parts_that_add_up() -> None:
    message = Assignments(
        version=9,
        applies_to=4,
        tasks=tuple(big_task(number) for number in range(100)),
        secrets=tuple(AssignedSecret(id=f"x{one}", version=1, name="x", data=b"s" * 500_000) for one in range(10)),
        configs=tuple(AssignedConfig(id=f"c{one}", version=1, name="c", data=b"c" * 1_000_000) for one in range(5)),
        gone_tasks=("old",),
        gone_secrets=("x",),
    )
    parts = assignment_parts(message)
    assert len(parts) > 5
    assert all(size(part) < LIMIT for part in parts)
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {(part.version, part.applies_to, part.complete) for part in parts} == {(9, 4, False)}
    for field in ("tasks", "secrets", "configs", "gone_tasks", "gone_secrets"):
        assert tuple(one for part in parts for one in getattr(part, field)) == getattr(message, field)


def test_large_endpoint_updates_come_in_parts_that_add_up() -> None:
    services = tuple(ServiceEndpoint(service_id=f"s{one}", name="x" * 200_000) for one in range(40))
    peers = (Peer(node_id="n", number=1, addr="10.0.0.1"),)
    update = EndpointUpdate(version=9, complete=True, peers=peers, networks=(), services=services, ingress_subnet="10.0.0.0/20")
    parts = endpoint_parts(update)
    assert all(size(part) < LIMIT for part in parts)
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert [part.update.complete for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.update.version for part in parts} == {9}
    assert tuple(one for part in parts for one in part.update.services) == services
    assert [part.update.peers for part in parts] == [peers] + [None] * (len(parts) - 1)


def test_a_part_is_never_larger_than_its_estimate() -> None:
    """The longest that names, ids and addresses can be: the estimate must still be above what is sent."""
    name, long_id = "é" * 63, "z" * 25
    backend = Backend(
        task_id=long_id, node_id=long_id, slot=2**31, ready=True,
        addresses={f"{one}{long_id[1:]}": "255.255.255.255" for one in range(3)}, container_name=f"{name}.{long_id}.{long_id}",
    )  # fmt: skip
    service = ServiceEndpoint(
        service_id=long_id, name=name, version=2**60, dnsrr=True,
        networks=tuple(ServiceNetwork(network_id=long_id, vip="255.255.255.255", aliases=(name,) * 3) for _ in range(3)),
        ports=(PortConfig(name=name, protocol="tcp", target_port=65535, published_port=65535, publish_mode="ingress"),) * 3,
        backends=(backend,) * 100,
    )  # fmt: skip
    parts = endpoint_parts(EndpointUpdate(version=9, complete=True, services=(service,) * 300))
    assert len(parts) > 2
    assert all(size(part) <= PART_BYTES for part in parts)
