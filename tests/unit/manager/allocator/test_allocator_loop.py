"""The allocator's loop: it hears of what is new, and tries what had to wait again when something is freed."""

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.changes import Put, TaskChange
from cluster.api.objects import Cluster, Network, Node, Service, Task, TaskStatus
from cluster.api.specs import IPAM, IPAMConfig, NetworkAttachmentConfig, NetworkSpec, ServiceSpec, TaskSpec
from cluster.api.states import TaskState
from manager.allocator.loop import Allocator
from manager.store.memory import MemoryProposer
from manager.store.store import Store

SMALL = IPAM(config=(IPAMConfig(subnet="10.9.0.0/29"),))


async def test_what_is_new_is_equipped_and_what_waits_gets_what_is_freed() -> None:
    clock = ManualClock()
    store = Store()
    proposer = MemoryProposer(store, clock)
    async with background(Allocator(store, proposer, clock).run):
        await proposer.propose([Put(object=Cluster(id="c")), Put(object=Node(id="n"))])
        await clock.advance(0.1)
        assert store.snapshot.nodes["n"].number == 1
        await proposer.propose([Put(object=Network(id="net", spec=NetworkSpec(name="net", ipam=SMALL)))])
        spec = ServiceSpec(name="s", task_template=TaskSpec(networks=(NetworkAttachmentConfig(target="net"),)))
        version = await proposer.propose([Put(object=Service(id="s", spec=spec))])
        tasks = [Task(id=f"t{slot}", service_id="s", template_version=version, slot=slot) for slot in range(1, 7)]
        await proposer.propose([Put(object=task) for task in tasks])
        await clock.advance(0.1)
        states = {task.id: task.state for task in store.snapshot.tasks.values()}
        waiting = sorted(task_id for task_id, state in states.items() if state is TaskState.NEW)
        assert len(waiting) == 2
        done = min(task_id for task_id, state in states.items() if state is TaskState.PENDING)
        await proposer.propose([TaskChange(id=done, status=TaskStatus(state=TaskState.FAILED))])
        await clock.advance(0.1)
        assert [store.snapshot.tasks[task_id].state for task_id in waiting] == [TaskState.PENDING, TaskState.NEW]
