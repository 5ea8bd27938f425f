"""Values that the worker's tests are made of."""

from cluster.api.assignment import AssignedAttachment, AssignedTask
from cluster.api.specs import SECOND, ContainerSpec, TaskSpec
from cluster.api.states import TaskState
from worker.plan import HostFacts

HOST = HostFacts(node_id="node1", cluster_id="c1", hostname="h1", architecture="x86_64")
NETWORK = AssignedAttachment(network_id="net1", address="10.0.1.3/24")


def assigned(
    task_id: str = "t1",
    *,
    desired: TaskState = TaskState.RUNNING,
    spec: ContainerSpec | None = None,
    connected: bool = False,
    state: TaskState = TaskState.NEW,
    endpoint_version: int = 0,
    slot: int = 1,
    listens: tuple[int, ...] = (),
) -> AssignedTask:
    return AssignedTask(
        id=task_id,
        service_id="s1",
        service_name="web",
        slot=slot,
        node_id="node1",
        spec=TaskSpec(container_spec=spec or ContainerSpec(image="app", stop_grace_period=3 * SECOND)),
        desired_state=desired,
        state=state,
        attachments=(NETWORK,) if connected else (),
        endpoint_version=endpoint_version,
        listens=listens,
    )
