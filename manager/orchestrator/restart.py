"""Whether, and how late, a task that ended is followed by another. Pure; Docker's condition, delay, attempts and window.

This is about tasks that failed (or ended). Tasks of lost or drained nodes did not: they are replaced without delay and uncounted.
"""

from cluster.api.objects import Task
from cluster.api.specs import SECOND, RestartPolicy, TaskSpec
from cluster.api.states import TaskState
from manager.orchestrator.soft import Moment, Soft
from manager.store.indexes import slot_of

DELAY = 5 * SECOND
"""Between a failure and the next start, unless the policy says otherwise."""

PATIENCE = 3
"""Quick failures in a row before back-off begins."""
CAP = 300 * SECOND
"""The longest back-off, unless the service says otherwise."""

ANY, ON_FAILURE, NONE = "any", "on-failure", "none"


def policy_of(spec: TaskSpec) -> RestartPolicy:
    return spec.restart_policy or RestartPolicy()


def delay_of(policy: RestartPolicy) -> int:
    return DELAY if policy.delay is None else policy.delay


def backoff_of(policy: RestartPolicy, cap: int | None, quick_failures: int) -> int:
    """How long a crash loop pauses: twice the delay after the third quick failure in a row, then ever twice that, up to the cap."""
    if quick_failures < PATIENCE:
        return 0
    return min(CAP if cap is None else cap, max(delay_of(policy), SECOND) << min(quick_failures - PATIENCE + 1, 20))


def restarts(policy: RestartPolicy, task: Task, *, soft: Soft, at: Moment) -> bool:
    """A task that ended in this state gets a successor."""
    if task.state not in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED):
        return True
    condition = policy.condition or ANY
    if condition == NONE or (condition == ON_FAILURE and task.state is TaskState.COMPLETE):
        return False
    if not policy.max_attempts:
        return True
    attempts = soft.restarts_within(slot_of(task), policy.window, at) if policy.window else task.restarts
    return attempts < policy.max_attempts
