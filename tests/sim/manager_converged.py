"""What must be so once the weather is calm: all managers show the same, what is wanted runs, and nothing else does."""

from collections.abc import Sequence

from cluster.api.objects import Service, Task, Template
from cluster.api.specs import replicas_of
from cluster.api.states import NodeState, Role, TaskState
from manager import why
from manager.store.apply import template_from
from manager.store.snapshot import Snapshot
from tests.sim.manager_host import Host


def not_converged(hosts: Sequence[Host], now: Snapshot) -> str:
    """What is not so; empty if everything is."""
    return _unequal(hosts, now) or _undone(now) or _unobserved(hosts, now)


def _unequal(hosts: Sequence[Host], now: Snapshot) -> str:
    """All managers show the same, and those are managers that should be."""
    if strange := set(now.nodes) ^ {host.id for host in hosts}:
        return f"nodes that should not be there, or are not: {sorted(strange)}"
    for host in hosts:
        node = now.nodes[host.id]
        if (host.manager is not None) is not (node.spec.role is Role.MANAGER and node.member is not None):
            return f"{host.name} is a manager: {host.manager is not None}; should be: {node.spec.role}"
        if host.manager is not None and host.manager.latest().version != now.version:
            return f"{host.name} shows {host.manager.latest().version}, the leader {now.version}"
        if node.status.state is not NodeState.READY:
            return f"node {host.name} is {node.status.state}"
    return ""


def _undone(now: Snapshot) -> str:
    """Desired equals observed in the store."""
    for service in now.services.values():
        if short := lacking(now, service):
            return short
    for task in now.tasks.values():
        if not task.state.ended and (task.desired_state > TaskState.COMPLETE or task.service_id not in now.services):
            return f"task {task.id} is {task.state.wire} and should be gone"
    return ""


def lacking(now: Snapshot, service: Service) -> str:
    tasks = [task for task in now.tasks_of(service.id).values() if task.desired_state is TaskState.RUNNING]
    running = [task for task in tasks if task.state is TaskState.RUNNING and _is_of(now.template_of(task), service)]
    wanted = replicas_of(service.spec)
    if len(running) == len(tasks) == wanted == len({task.slot for task in tasks}) or _waits_for_room(now, service, tasks):
        return ""
    states = ", ".join(f"{task.slot}:{task.state.wire} {task.status.err}" for task in tasks)
    return f"service {service.spec.name} wants {wanted} and has {states or 'none'} {service.pending_reason} {service.update_status}"


def _waits_for_room(now: Snapshot, service: Service, tasks: Sequence[Task]) -> bool:
    """The one honest end that is none: start-first keeps the old task of a slot where no node has the port free for the new one.

    No replica is missing meanwhile, no node could take the new task, and whoever asks why is told the port and the cure.
    """
    running = [task for task in tasks if task.state is TaskState.RUNNING]
    waiting = [task for task in tasks if task.state is TaskState.PENDING]
    if not waiting or len(waiting) + len(running) != len(tasks) or not replicas_of(service.spec) == len(running) == len(_slots(running)):
        return False
    if service.spec.update_config is None or service.spec.update_config.order != "start-first" or not _slots(waiting) <= _slots(running):
        return False
    ports = {port.published_port for task in waiting for port in now.template_of(task).host_ports}
    has_port = {
        task.node_id
        for task in now.tasks.values()
        if task.desired_state is TaskState.RUNNING and any(port.published_port in ports for port in now.template_of(task).host_ports)
    }
    said = "; ".join(why.of_service(now, service).reasons)
    cure = f"--update-order stop-first {service.spec.name}"
    return has_port >= set(now.nodes) and cure in said and all(f"{port}/tcp" in said for port in ports)


def _slots(tasks: Sequence[Task]) -> set[int]:
    return {task.slot for task in tasks}


def _is_of(template: Template, service: Service) -> bool:
    """New labels of a service alone are no reason for new containers."""
    wanted = template_from(service.spec, service.extensions)
    return (template.spec, template.host_ports) == (wanted.spec, wanted.host_ports)


def _unobserved(hosts: Sequence[Host], now: Snapshot) -> str:
    """What the store says runs on the machines, and nothing else does."""
    said = {(task.node_id, task.id) for task in now.tasks.values() if task.state is TaskState.RUNNING}
    runs = {(host.id, name) for host in hosts for name, container in host.machine.containers.items() if container.is_running}
    return f"{len(runs - said)} containers run that should not, {len(said - runs)} do not that should" if runs != said else ""
