"""What clients do to one key: create it, swap its value, remove it, read it. Values are never used twice, so a value is its version."""

from collections.abc import Hashable

from tests.sim.linearizability import IMPOSSIBLE, Operation

Call = tuple[str, ...]


def create(value: str) -> Call:
    """Answered `ok` or `exists`."""
    return ("create", value)


def cas(expected: str, value: str) -> Call:
    """`value` if it is `expected` now, else `stale`."""
    return ("cas", expected, value)


def remove(incarnation: str = "") -> Call:
    """Gone, if its value begins with this: a thing of that name that was made later is another thing.

    `ok` also if it was gone already (a retry cannot be told from a second wish); `gone` only then.
    """
    return ("remove", incarnation)


def read() -> Call:
    return ("read",)


class Register:
    """The model; None is a key that does not exist. Everything may be `refused` for reasons that it does not know, and is not done then."""

    initial: Hashable = None

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        match operation.call:
            case ("read",):
                return state if operation.is_open or state == operation.answer else IMPOSSIBLE
            case _ if operation.answer == "refused":
                return state
            case ("create", value):
                return _answered(operation, value if state is None else state, "ok" if state is None else "exists")
            case ("cas", expected, value):
                return _answered(operation, value if state == expected else state, "ok" if state == expected else "stale")
            case ("remove", incarnation):
                is_there = isinstance(state, str) and state.startswith(incarnation)
                return _answered(operation, None, "ok") if is_there else _answered(operation, state, "ok", "gone")
            case other:
                raise ValueError(f"no such call: {other}")

    def only_looks(self, operation: Operation) -> bool:
        return operation.call == read() or operation.answer in ("refused", "exists", "stale", "gone")


def _answered(operation: Operation, after: Hashable, *answers: str) -> Hashable:
    return after if operation.is_open or operation.answer in answers else IMPOSSIBLE
