"""What a node without the kernel's plane has its process balance, and what others make of such a node."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.api.assignment import AssignedAttachment, AssignedTask
from cluster.api.endpoint import Backend, EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint
from cluster.api.specs import ContainerSpec, PortConfig, TaskSpec
from cluster.api.states import TaskState
from node_agent.network.balance.plan import BalancePlan
from node_agent.network.desired import desired
from node_agent.network.gathered import Gatherer
from node_agent.network.ingress import Published
from node_agent.network.memory_networks import MemoryNetworks
from node_agent.network.userspace import UserPlane, balance_plan
from node_agent.network.view import Known, LocalTask, View, merge
from worker.ports import SandboxError

ONE, TWO, THREE = (
    Peer(node_id=f"node{number}", number=number, addr=f"192.0.2.{number}", hostname=f"h{number}", linked=number == 3)
    for number in (1, 2, 3)
)
WEB = ServiceEndpoint(
    service_id="web",
    name="web",
    ports=(PortConfig(protocol="tcp", published_port=8080, target_port=80, publish_mode="ingress"),),
    backends=tuple(Backend(task_id=f"t{number}", node_id=f"node{number}", ready=True) for number in (1, 2, 3)),
)
NET = OverlayNetwork(network_id="net1".ljust(25, "0"), name="shop", subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)


def known(*tasks: LocalTask) -> Known:
    update = EndpointUpdate(
        version=5, complete=True, peers=(ONE, TWO, THREE), networks=(), services=(WEB,), ingress_subnet="10.96.0.0/20", vxlan_port=4800
    )
    return Known(view=merge(View(), update), tasks={task.task_id: task for task in tasks})


def own(**changes: object) -> LocalTask:
    return replace(LocalTask(task_id="t1", service_id="web", uses_gateway=True, gateway_address="172.18.0.2", pid=7), **changes)


def test_other_nodes_are_reached_at_their_addresses_whatever_they_balance_by() -> None:
    state = known(own())
    assert balance_plan(state, Gatherer().gather(state, ONE), node_id="node1") == BalancePlan(
        me="192.0.2.1",
        port=4800,
        published=(Published(protocol="tcp", port=8080, target=80, local=("172.18.0.2",), remote={"192.0.2.2": 1, "192.0.2.3": 1}),),
        relays=("192.0.2.2",),
        linked=("192.0.2.3",),
    )


def test_a_withdrawn_task_is_out_at_once_and_serves_what_others_still_send() -> None:
    state = known(own(withdrawn=True))
    (port,) = balance_plan(state, Gatherer().gather(state, ONE), node_id="node1").published
    assert (port.local, port.leaving) == ((), ("172.18.0.2",))


def test_nothing_is_balanced_while_this_node_is_not_among_the_peers() -> None:
    assert balance_plan(Known(), [], node_id="node1") == BalancePlan()


def test_a_linked_node_sends_to_such_a_one_by_the_underlay_and_is_known_by_its_address_there() -> None:
    state = known()
    wanted = desired(state, Gatherer().gather(state, THREE), node_id="node3", underlay_mtu=1500)
    assert wanted.published["tcp", 8080, "entering"] == ("192.0.2.1", "192.0.2.2")
    assert wanted.node_table is not None
    assert wanted.node_table.lookups["unlinked"].elements == {"192.0.2.1": "", "192.0.2.2": ""}


def assigned(*attachments: AssignedAttachment) -> AssignedTask:
    return AssignedTask(
        id="t9",
        service_id="web",
        service_name="web",
        slot=1,
        node_id="node1",
        spec=TaskSpec(container_spec=ContainerSpec(image="x")),
        desired_state=TaskState.RUNNING,
        attachments=attachments,
        publishes=True,
    )


async def test_a_task_that_needs_an_overlay_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = MemoryNetworks()
    plane = UserPlane(node_id="node1", runtime=tmp_path, engine=engine, clock=ManualClock(), reason="the test wants it so")
    await plane.serve([NET])
    with pytest.raises(SandboxError, match="network shop cannot be set up on this node, since the test wants it so"):
        await plane.prepare(assigned(AssignedAttachment(network_id=NET.network_id, address="10.0.1.2/24")))
    assert not plane.known.tasks
    assert not engine.networks


async def test_nor_does_one_whose_bridge_the_engine_refuses(tmp_path: Path) -> None:
    engine = MemoryNetworks()
    engine.refusal = "could not find an available subnet"
    plane = UserPlane(node_id="node1", runtime=tmp_path, engine=engine, clock=ManualClock(), reason="the test wants it so")
    with pytest.raises(SandboxError, match="could not find an available subnet"):
        await plane.prepare(assigned())
    assert not plane.known.tasks
