"""The twin keeps the engine's promises; integration/test_engine_dockerd.py holds the real thing to the same."""

import pytest

from cluster.aio.clock import SystemClock
from cluster.api.specs import ContainerSpec
from tests.ports.engine_promises import EnginePromises
from worker.engine.memory import Behaviour, MemoryEngine
from worker.ports import ContainerPlan


class MemoryRig:
    image = "app"

    def __init__(self) -> None:
        self._behaviours: dict[str, Behaviour] = {}
        self.engine = MemoryEngine(SystemClock(), images=["app"], behave=self._behave)

    def doing(self, behaviour: Behaviour) -> ContainerSpec:
        self._behaviours[str(behaviour)] = behaviour
        return ContainerSpec(image="app", args=(str(behaviour),))

    def _behave(self, plan: ContainerPlan) -> Behaviour:
        return self._behaviours[plan.spec.args[0]]

    async def restart_from_outside(self, container_id: str) -> None:
        self.engine.exit(container_id, 137)
        self.engine.foreign_start(container_id)


class TestMemoryEngine(EnginePromises):
    @pytest.fixture
    def rig(self) -> MemoryRig:
        return MemoryRig()
