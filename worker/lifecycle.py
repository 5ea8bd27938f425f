"""Run (step 8): what a node does next for one task. Pure: the runner performs exactly one action, looks again and asks again.

A task's life on a node is a walk through its states, one operation a step (docs/design/worker.md has the picture):

    accept -> pull -> create -> (desired RUNNING) start -> attach -> running -> withdraw -> settle -> drain -> stop -> clean

Decisions rest on three things only: the task as it is assigned, what this node wrote down about it, and the container as the
engine shows it now. So a daemon that was killed anywhere in the walk goes on where it was. States never go back: `advance`
raises if one would.
"""

import enum

from msgspec.structs import replace

from cluster.api.assignment import AssignedTask
from cluster.api.ids import Id
from cluster.api.objects import ContainerStatus, InvalidTransition, TaskStatus
from cluster.api.states import TaskState
from cluster.api.values import Value
from worker.ports import ContainerState
from worker.wording import CUT_OFF, FOREIGN_RESTART, FOREIGN_START, GONE_CONTAINER, LOST_RECORD, exit_error, unhealthy_error

SECOND = 1_000_000_000
DEFAULT_GRACE = 10 * SECOND
"""Docker's: what a container has between its stop signal and SIGKILL when its spec says nothing."""


STOP = "stop"
"""What a service says that wants no task to run where no manager can see it."""


class Winding(enum.IntEnum):
    """How far a task that is to stop has come; it only grows."""

    NOT_YET = 0
    WITHDRAWN = 1
    SETTLED = 2
    DRAINED = 3


class LocalTask(Value, frozen=True, kw_only=True):
    """What this node knows of a task by itself, kept in its journal."""

    task_id: Id
    status: TaskStatus = TaskStatus()
    """The last one reported; its `message` says what was last done."""
    pulled: bool = False
    container_id: str = ""
    start_asked: bool = False
    """Set before the engine is asked: of a container that runs without it, somebody else made the start."""
    started_at: str = ""
    """The engine's StartedAt of the start that we made; another one is another's start."""
    winding: Winding = Winding.NOT_YET
    ending: TaskStatus | None = None
    """Decided, and reported once the container is down."""
    cleaned: bool = False
    removed: bool = False

    @property
    def state(self) -> TaskState:
        return self.status.state

    def advance(self, status: TaskStatus) -> "LocalTask":
        """This record with a later status. Raises InvalidTransition if the state would go back."""
        if status.state < self.state:
            raise InvalidTransition(f"task {self.task_id} is {self.state.wire} and cannot become {status.state.wire}")
        return replace(self, status=status, ending=None if status.state.ended else self.ending)


class Facts(Value, frozen=True, kw_only=True):
    """What holds for this daemon's life only."""

    files_here: bool = True
    """The secrets and configs that the task names have arrived (they are never on a disk, so not right after a restart)."""
    told: bool = True
    """A manager's word came since this daemon started: until then nothing is begun, as the journal may lack the last thing it said."""
    cut_off: bool = False
    """No manager has been in reach for so long that others may run what runs here."""
    attached_pid: int = 0
    """The process that the sandbox was last attached to by this daemon."""


# -- actions -----------------------------------------------------------------------------------------------------------------------------
class Report(Value, frozen=True, kw_only=True, tag="report"):
    """The task is in this state now."""

    state: TaskState
    message: str = ""
    err: str = ""
    exit_code: int = 0
    ready: bool = True


class Pull(Value, frozen=True, kw_only=True, tag="pull"):
    """See that the image is here."""


class Create(Value, frozen=True, kw_only=True, tag="create"):
    """Write its files, prepare its sandbox, create its container."""


class Start(Value, frozen=True, kw_only=True, tag="start"):
    """Start the container, for the one time."""


class Attach(Value, frozen=True, kw_only=True, tag="attach"):
    """Connect the running process: after its start, and again by a daemon that found it running."""

    pid: int


class Listen(Value, frozen=True, kw_only=True, tag="listen"):
    """It runs, and takes traffic once it listens where its service publishes."""


class Probe(Value, frozen=True, kw_only=True, tag="probe"):
    """It runs: when it is time, ask whether it is fit for traffic."""


class Doom(Value, frozen=True, kw_only=True, tag="doom"):
    """It shall end like this once its container is down."""

    state: TaskState
    err: str


class Withdraw(Value, frozen=True, kw_only=True, tag="withdraw"):
    """No new traffic from here."""


class Settle(Value, frozen=True, kw_only=True, tag="settle"):
    """Wait until no ready node sends it new traffic."""


class Drain(Value, frozen=True, kw_only=True, tag="drain"):
    """Let open connections end."""


class Stop(Value, frozen=True, kw_only=True, tag="stop"):
    """Signal, wait `grace` ns, kill."""

    grace: int
    signal: str = ""


class Clean(Value, frozen=True, kw_only=True, tag="clean"):
    """Give back the sandbox, the secrets and the configs."""


class RemoveContainer(Value, frozen=True, kw_only=True, tag="remove"):
    """With it go its logs: only when the task is to be removed or is gone."""


class Forget(Value, frozen=True, kw_only=True, tag="forget"):
    """Nothing is left of the task; drop its record."""


class Nothing(Value, frozen=True, kw_only=True, tag="nothing"):
    """Wait for a change."""


Action = (
    Report
    | Pull
    | Create
    | Start
    | Attach
    | Listen
    | Probe
    | Doom
    | Withdraw
    | Settle
    | Drain
    | Stop
    | Clean
    | RemoveContainer
    | Forget
    | Nothing
)


# -- the decision ------------------------------------------------------------------------------------------------------------------------
def next_action(task: AssignedTask, known: LocalTask, container: ContainerState | None, facts: Facts, *, gone: bool = False) -> Action:
    """The one operation that brings the task closer to what is wanted. `gone`: it is assigned no more, nothing shall be left."""
    if known.state.ended:
        return _after_the_end(task, known, container, gone=gone)
    if gone or task.desired_state >= TaskState.SHUTDOWN or known.ending is not None:
        return _wind_down(task, known, container)
    if facts.cut_off and task.on_disconnect == STOP and (container is None or container.running or container.created_only):
        return Doom(state=TaskState.FAILED, err=CUT_OFF) if container is not None and container.running else Nothing()
    if known.state < TaskState.STARTING:
        return _towards_ready(task, known, container, facts)
    return _run(task, known, container, facts)


def _towards_ready(task: AssignedTask, known: LocalTask, container: ContainerState | None, facts: Facts) -> Action:
    if known.state < TaskState.ACCEPTED:
        return Report(state=TaskState.ACCEPTED, message="accepted")
    if known.state < TaskState.PREPARING:
        return Report(state=TaskState.PREPARING, message="preparing")
    if container is not None and not container.created_only and not known.start_asked:
        return Doom(state=TaskState.FAILED, err=FOREIGN_START)
    if known.state < TaskState.READY:
        return _prepare(known, container, facts)
    if container is None:
        return Report(state=TaskState.FAILED, message=known.status.message, err=GONE_CONTAINER)
    if task.desired_state < TaskState.RUNNING:
        return Nothing()
    return Report(state=TaskState.STARTING, message="starting")


def _prepare(known: LocalTask, container: ContainerState | None, facts: Facts) -> Action:
    if container is not None:
        return Report(state=TaskState.READY, message="prepared")
    if not facts.told:
        return Nothing()
    if not known.pulled:
        return Pull()
    return Create() if facts.files_here else Nothing()


def _run(task: AssignedTask, known: LocalTask, container: ContainerState | None, facts: Facts) -> Action:
    if container is None:
        return Report(state=TaskState.FAILED, message=known.status.message, err=GONE_CONTAINER)
    if container.created_only:
        return Start() if facts.told else Nothing()
    if known.started_at and container.started_at != known.started_at:
        return Doom(state=TaskState.FAILED, err=FOREIGN_RESTART)
    if not container.running:
        return _exited(task, known, container)
    if container.health == "unhealthy":
        return Doom(state=TaskState.FAILED, err=unhealthy_error(container))
    if container.pid != facts.attached_pid:
        return Attach(pid=container.pid)
    if known.state < TaskState.RUNNING and container.health != "starting":
        fit = task.readiness is None and (bool(container.health) or not task.listens)
        return Report(state=TaskState.RUNNING, message="started", ready=fit)
    return _watch(task, known)


def _watch(task: AssignedTask, known: LocalTask) -> Action:
    """It runs, or its health check has not said so yet; a readiness of its own stands in for listening."""
    if known.state < TaskState.RUNNING:
        return Nothing()
    if task.readiness is not None:
        return Probe()
    return Nothing() if known.status.ready else Listen()


def _exited(task: AssignedTask, known: LocalTask, container: ContainerState) -> Report:
    if container.exit_code == 0 and not container.error:
        return Report(state=TaskState.COMPLETE, message="finished")
    err = exit_error(container, task.spec.resources)
    return Report(state=TaskState.FAILED, message=known.status.message, err=err, exit_code=container.exit_code)


def _wind_down(task: AssignedTask, known: LocalTask, container: ContainerState | None) -> Action:
    """Take traffic away before the process: the observed state stays RUNNING meanwhile."""
    if container is None or not container.running:
        return _down(known, container)
    if not takes_traffic(task) or known.state < TaskState.STARTING:
        return _stop(task)
    match known.winding:
        case Winding.NOT_YET:
            return Withdraw()
        case Winding.WITHDRAWN if known.ending is None:
            return Settle()
        case Winding.SETTLED:
            return Drain()
        case _:  # drained, or doomed: nobody gains by waiting for a container that is unhealthy or not ours any more
            return _stop(task)


def _down(known: LocalTask, container: ContainerState | None) -> Report:
    code = 0 if container is None else container.exit_code
    if known.ending is None:
        return Report(state=TaskState.SHUTDOWN, message="shutdown", exit_code=code)
    return Report(state=known.ending.state, message=known.ending.message, err=known.ending.err, exit_code=code)


def _stop(task: AssignedTask) -> Stop:
    spec = task.spec.container_spec
    grace = None if spec is None else spec.stop_grace_period
    return Stop(grace=DEFAULT_GRACE if grace is None else grace, signal="" if spec is None else spec.stop_signal)


def _after_the_end(task: AssignedTask, known: LocalTask, container: ContainerState | None, *, gone: bool) -> Action:
    if container is not None and container.running:
        return _stop(task)  # somebody started it again
    if not known.cleaned:
        return Clean()
    if not known.removed and (gone or task.desired_state >= TaskState.REMOVE):
        return RemoveContainer()
    return Forget() if gone else Nothing()


def takes_traffic(task: AssignedTask) -> bool:
    """Tasks without networks and ports have no connections that a stop could cut."""
    return bool(task.attachments or task.host_ports or task.publishes)


# -- records ----------------------------------------------------------------------------------------------------------------------------
def first_record(task: AssignedTask, container: ContainerState | None, *, now: int) -> LocalTask:
    """The record of a task that this node has none of: it is new, or the journal was lost and the manager or a container knows more.

    A task that was further than ASSIGNED is never run a second time.
    """
    if task.state.ended:
        status = TaskStatus(state=task.state, timestamp=now)
        return LocalTask(task_id=task.id, status=status, container_id="" if container is None else container.id)
    if container is not None:
        return adopted(LocalTask(task_id=task.id, status=TaskStatus(state=task.state, timestamp=now), pulled=True), container)
    if task.state >= TaskState.STARTING:
        status = TaskStatus(state=TaskState.FAILED, timestamp=now, message="started", err=LOST_RECORD)
        return LocalTask(task_id=task.id, status=status)
    return LocalTask(task_id=task.id, status=TaskStatus(state=TaskState.ASSIGNED, timestamp=now))


def corrected(known: LocalTask, task: AssignedTask, *, now: int) -> LocalTask:
    """The record, unless the manager knows of an end that it lacks: it was lost with the journal's tail, or the node was given up."""
    if not task.state.ended or known.state.ended:
        return known
    return known.advance(TaskStatus(state=task.state, timestamp=now, message=known.status.message))


def adopted(known: LocalTask, container: ContainerState) -> LocalTask:
    """A container found by its labels after a restart: its start counts as ours, since we may have died just after making it."""
    if container.created_only:
        return replace(known, container_id=container.id, pulled=True)
    if known.state.ended:
        return replace(known, container_id=container.id)
    status = known.status
    if status.state < TaskState.STARTING:
        status = replace(status, state=TaskState.STARTING, message="starting")
    started_at = known.started_at or container.started_at
    return replace(known, container_id=container.id, pulled=True, start_asked=True, started_at=started_at, status=status)


def status_of(report: Report, known: LocalTask, container: ContainerState | None, *, now: int) -> TaskStatus:
    """The status that says so, with what the engine shows of the container."""
    shown = None
    if known.container_id:
        running = container is not None and container.running
        shown = ContainerStatus(
            container_id=known.container_id, pid=container.pid if container is not None and running else 0, exit_code=report.exit_code
        )
    ports = container.ports if container is not None and report.state == TaskState.RUNNING else ()
    return TaskStatus(
        state=report.state,
        timestamp=now,
        message=report.message,
        err=report.err,
        container=shown,
        ports=ports,
        ready=report.ready,
    )


# -- readiness --------------------------------------------------------------------------------------------------------------------------
LISTEN_WITHIN = 10.0
"""Seconds after which a task counts as ready though it listens nowhere: its ports may be published in vain."""
FOLLOW_WITHIN = 1.0
"""Seconds that the other ports have once it listens on one."""


def takes_connections(wanted: tuple[int, ...], listening: frozenset[int] | None, *, waited: float, since_first: float) -> bool:
    """Whether a task that runs may have traffic; `since_first`: seconds since it was first seen to listen on one of its ports."""
    if listening is None or waited >= LISTEN_WITHIN:
        return True
    there = listening.intersection(wanted)
    return len(there) == len(wanted) or (bool(there) and since_first >= FOLLOW_WITHIN)
