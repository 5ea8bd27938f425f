"""Asks a running task whether it is fit for traffic: runs its command, or knocks at its port. What the answers mean is in `readiness`."""

from collections.abc import Awaitable, Callable

from cluster.aio.clock import Clock
from cluster.aio.supervise import first_of
from cluster.api.assignment import AssignedTask
from cluster.api.specs import Readiness
from worker.ports import ContainerState, Engine, EngineError, EngineGone, Sandbox
from worker.readiness import command, knock, no_answer, problem_of, problem_of_failure, problem_of_reply, request, timeout


class Prober:
    def __init__(self, engine: Engine, sandbox: Sandbox, clock: Clock) -> None:
        self._engine = engine
        self._sandbox = sandbox
        self._clock = clock

    async def ask(
        self, task: AssignedTask, readiness: Readiness, container: ContainerState, *, unwanted: Callable[[], Awaitable[None]]
    ) -> str | None:
        """What the test has against it, empty for nothing; None when nobody wants to know any more. Raises EngineGone."""
        problems: list[str] = []

        async def answer() -> None:
            problems.append(await self._answer(task, readiness, container))

        if await first_of(answer, lambda: self._clock.sleep(timeout(readiness)), unwanted) == 2:
            return None
        return problems[0] if problems else no_answer(readiness)

    async def _answer(self, task: AssignedTask, readiness: Readiness, container: ContainerState) -> str:
        asked = knock(readiness)
        if asked is None:
            try:
                return problem_of(await self._engine.exec(container.id, command(readiness)))
            except EngineGone:
                raise
            except EngineError as error:
                return f"readiness: {error}"
        try:
            reply = await self._sandbox.ask(task, container, asked.port, request(asked))
        except OSError as failed:
            return problem_of_failure(asked, failed)
        return problem_of_reply(asked, reply)
