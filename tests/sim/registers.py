"""What clients do to one key: create it, swap its value, remove it, read it. Values are never used twice, so a value is its version."""

from collections.abc import Hashable

from tests.sim.linearizability import IMPOSSIBLE, Operation

Call = tuple[str, ...]


def create(value: str) -> Call:
    return ("create", value)


def cas(expected: str, value: str) -> Call:
    """`value` if it is `expected` now. Answered `ok`, `stale` (it was another), `gone`."""
    return ("cas", expected, value)


def remove() -> Call:
    return ("remove",)


def read() -> Call:
    return ("read",)


class Register:
    """The model; None is a key that does not exist."""

    initial: Hashable = None

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        match operation.call:
            case ("read",):
                return state if operation.is_open or state == operation.answer else IMPOSSIBLE
            case ("create", value):
                return _answered(operation, value if state is None else state, "ok" if state is None else "exists")
            case ("cas", expected, value):
                if state == expected:
                    return _answered(operation, value, "ok")
                return _answered(operation, state, "gone" if state is None else "stale")
            case ("remove",):
                return _answered(operation, None, "gone" if state is None else "ok")
            case other:
                raise ValueError(f"no such call: {other}")


def _answered(operation: Operation, after: Hashable, answer: str) -> Hashable:
    return after if operation.is_open or operation.answer == answer else IMPOSSIBLE
