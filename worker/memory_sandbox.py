"""The sandbox port's twin in memory: it connects nothing, remembers what it was told, and can be scripted to refuse."""

import asyncio
import errno
from collections.abc import Sequence

from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from worker.ports import ContainerState, SandboxError, SandboxPlan


class MemorySandbox:
    """`plan` is what every task gets."""

    def __init__(self, plan: SandboxPlan = SandboxPlan()) -> None:  # noqa: B008 - a frozen value
        self._plan = plan
        self.calls: list[str] = []
        self.served: dict[Id, OverlayNetwork] = {}
        self.attached: dict[Id, int] = {}
        """task -> process"""
        self.connections: dict[Id, int] = {}
        self.ports: dict[Id, frozenset[int]] = {}
        self.refusals: dict[Id, str] = {}
        self.asked: list[tuple[Id, int, bytes]] = []
        self.answers: dict[int, bytes | OSError | None] = {}
        """What a port answers, whoever's it is; None never does. Others refuse."""

    async def serve(self, networks: Sequence[OverlayNetwork]) -> None:
        self.served.update((network.network_id, network) for network in networks)

    async def prepare(self, task: AssignedTask) -> SandboxPlan:
        self.calls.append(f"prepare {task.id}")
        if task.id in self.refusals:
            raise SandboxError(self.refusals[task.id])
        return self._plan

    async def attach(self, task: AssignedTask, container: ContainerState) -> None:
        self.calls.append(f"attach {task.id}")
        self.attached[task.id] = container.pid

    async def withdraw(self, task_id: Id) -> None:
        self.calls.append(f"withdraw {task_id}")

    async def admit(self, task_id: Id) -> None:
        self.calls.append(f"admit {task_id}")

    async def ask(self, task: AssignedTask, container: ContainerState, port: int, request: bytes) -> bytes:  # noqa: ARG002 - the port's
        self.asked.append((task.id, port, request))
        answer = self.answers.get(port, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, OSError):
            raise answer
        return answer or b""

    async def open_connections(self, task_id: Id) -> int:
        return self.connections.get(task_id, 0)

    async def listening(self, task_id: Id) -> frozenset[int] | None:
        return self.ports.get(task_id)

    async def remove(self, task_id: Id) -> None:
        self.calls.append(f"remove {task_id}")
        self.attached.pop(task_id, None)
