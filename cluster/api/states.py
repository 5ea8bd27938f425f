"""The states of tasks and nodes. A task only moves forward; `Task.advance` is the one way, and it refuses to go back."""

import enum


class TaskState(enum.IntEnum):
    """How far a task is (Docker API v1.51, TaskState); the gaps leave room, the order is the meaning."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    ORPHANED = 832

    @property
    def wire(self) -> str:
        """Docker's spelling."""
        return self.name.lower()

    @property
    def ended(self) -> bool:
        """No container of this task runs or will run any more."""
        return self > TaskState.RUNNING


class Role(enum.StrEnum):
    """What a node's certificate says it is; also who may call a method."""

    WORKER = "worker"
    MANAGER = "manager"


class Availability(enum.StrEnum):
    ACTIVE = "active"
    PAUSE = "pause"
    DRAIN = "drain"


class NodeState(enum.StrEnum):
    UNKNOWN = "unknown"
    DOWN = "down"
    READY = "ready"
    DISCONNECTED = "disconnected"


class Membership(enum.StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"


class UpdateState(enum.StrEnum):
    """`UpdateStatus.State` of a service (Docker API v1.51)."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"


class Kind(enum.StrEnum):
    """The tables of the store, and the `Type` of events."""

    CLUSTER = "cluster"
    NODE = "node"
    SERVICE = "service"
    TASK = "task"
    NETWORK = "network"
    SECRET = "secret"
    CONFIG = "config"
