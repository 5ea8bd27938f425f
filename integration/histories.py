"""What clients saw of the configs of a swarm, as histories that tests.sim.linearizability can judge: one name is one object."""

from collections.abc import Hashable

from tests.sim.linearizability import IMPOSSIBLE, Operation

CREATED, EXISTED = "created", "refused: it exists"
REMOVED, LACKED = "removed", "refused: there is none"


class Named:
    """A name that stands for nothing (None), or for an object of one value.

    A call is (verb, value); a read is answered with the value, or LACKED.
    """

    initial = None

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        verb, value = operation.call  # type: ignore[misc]
        answer = operation.answer
        match verb:
            case "create":
                if operation.is_open:
                    return value if state is None else state
                return {(CREATED, True): value, (EXISTED, False): state}.get((answer, state is None), IMPOSSIBLE)
            case "remove":  # whoever meant an object that somebody else has removed meanwhile is told the same
                return None if answer == REMOVED or operation.is_open or state is None else IMPOSSIBLE
            case _:
                return state if answer == (LACKED if state is None else state) else IMPOSSIBLE

    def only_looks(self, operation: Operation) -> bool:
        return operation.answer not in (CREATED, REMOVED)
