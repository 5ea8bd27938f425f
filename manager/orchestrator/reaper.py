"""Remove what nobody needs to see any more, and end what no node will end. Pure.

History: of each slot the newest tasks are kept, as many as the cluster's limit says, the wanted one counted.
"""

from cluster.api.objects import Service, Task
from cluster.api.states import TaskState
from manager.orchestrator.round import Round
from manager.orchestrator.slots import final

UNSEEN = "shut down before it reached a node"
ORPHANED = "its node left the cluster"


def reap(tasks: tuple[Task, ...], service: Service | None, round_: Round) -> None:
    """Tidy one slot, or some tasks of a service that is gone."""
    history = []
    standing = 0
    for task in tasks:
        if task.desired_state is TaskState.REMOVE:
            if _out_of_reach(task, round_):
                round_.remove(task)
        elif task.desired_state is TaskState.SHUTDOWN:
            _conclude(task, round_)
            if task.state.ended:
                history.append(task)
            else:
                standing += 1
        else:
            standing += 1
    if service is not None and history:
        _forget(history, standing, round_)


def _out_of_reach(task: Task, round_: Round) -> bool:
    """No node runs it, and none will."""
    return task.state.ended or task.state < TaskState.ASSIGNED or task.node_id not in round_.now.nodes


def _conclude(task: Task, round_: Round) -> None:
    if task.state.ended:
        return
    if task.state < TaskState.ASSIGNED:
        round_.conclude(task, TaskState.SHUTDOWN, UNSEEN)
    elif task.node_id not in round_.now.nodes:
        round_.conclude(task, TaskState.ORPHANED, ORPHANED)


def _forget(history: list[Task], standing: int, round_: Round) -> None:
    """The task that says why its slot stays empty goes last: without it the slot would be filled again."""
    cluster = round_.now.cluster
    limit = 5 if cluster is None else cluster.spec.orchestration.task_history_retention_limit
    surplus = standing + len(history) - max(limit, 1)
    if limit < 0 or surplus <= 0:
        return
    history.sort(key=lambda task: (final(task, round_), task.created_at, task.restarts, task.version, task.id))
    for task in history[:surplus]:
        round_.remove(task)
