"""The control plane's refusals in the words that Docker's clients hear: a manager is asked over gRPC, and the daemon repeats what it says.

Scripts and test suites compare the whole text. What the daemon refuses by itself, names that it does not find and bodies that it cannot
read, has none of this.
"""

from cluster.api.errors import (
    Conflict,
    FailedPrecondition,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotSupported,
    ShoalError,
    code_of,
    from_code,
)

_PREFIX = "rpc error: code = "
_CODES: tuple[tuple[type[ShoalError], str], ...] = (
    (FailedPrecondition, "FailedPrecondition"),
    (InvalidArgument, "InvalidArgument"),
    (NotFound, "NotFound"),
    (Conflict, "AlreadyExists"),
    (Forbidden, "PermissionDenied"),
    (NotSupported, "Unimplemented"),
)


def by_manager(refused: ShoalError) -> ShoalError:
    """The same refusal, with gRPC's code in front; as it is if it has one already, or is none that a manager would word (grpc/codes)."""
    said = str(refused)
    code = next((code for kind, code in _CODES if isinstance(refused, kind)), "")
    return refused if not code or said.startswith(_PREFIX) else from_code(code_of(refused), f"{_PREFIX}{code} desc = {said}")
