"""Every refusal, rooted once. Each carries its facts; only the edges (HTTP, RPC, CLI) turn them into codes and text."""

from collections.abc import Mapping


class ShoalError(Exception):
    """Something was refused or failed, and the text names the thing, the fault and the cure."""


class InvalidArgument(ShoalError):
    """The request itself is wrong (400)."""


class Unauthorized(ShoalError):
    """The caller did not prove who it is (401)."""


class NodeRemoved(Unauthorized):
    """The calling node is no member any more. Final: only the leader says so, as another manager may not have heard of the node yet."""

    def __init__(self, node: str) -> None:
        super().__init__(f"node {node} is not part of this swarm any more")


class Forbidden(ShoalError):
    """The caller is known and may not do this (403)."""


class Fenced(Forbidden):
    """The calling manager's log is not the swarm's any more: a new cluster was forced without it. It begins anew, from what we tell it."""

    addr: str = ""
    """Where the manager is that says so, for the caller to follow."""

    def __init__(self, node: str) -> None:
        super().__init__(node if " " in node else f"the swarm went on without node {node} when a new cluster was forced")


class NotFound(ShoalError):
    """The named thing does not exist (404)."""


class Conflict(ShoalError):
    """The request meets the present state badly (409)."""


class TooLarge(ShoalError):
    """A body or message over its bound (413)."""


class Internal(ShoalError):
    """We are at fault (500)."""


class Unavailable(ShoalError):
    """Not now: no leader, no quorum, too busy, not in a swarm (503)."""

    leader_addr: str = ""
    """Where to ask instead, if that is known."""


class FailedPrecondition(InvalidArgument):
    """A request that makes no sense in the present state; Docker answers 400 to these."""


class NotSupported(ShoalError):
    """The request is understood, and this is not done (501)."""


class OutOfSequence(Conflict):
    """A compare-and-swap met a newer version. Docker answers 500 with these words; clients look for them."""

    def __init__(self, what: str) -> None:
        super().__init__(f"rpc error: code = Unknown desc = update out of sequence: {what} was changed since it was read")


class StaleSnapshot(ShoalError):
    """A change set was decided on facts that no longer hold; whoever proposed it looks again. Never leaves the manager."""


class NoLeader(Unavailable):
    """No manager leads right now, or this one cannot reach it."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. "
            "Make sure more than half of the managers are online." + (f" ({detail})" if detail else "")
        )


# The codes that travel between nodes. A number is never reused.
CODES: Mapping[str, type[ShoalError]] = {
    "invalid": InvalidArgument,
    "precondition": FailedPrecondition,
    "unauthorized": Unauthorized,
    "removed": NodeRemoved,
    "fenced": Fenced,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "conflict": Conflict,
    "out_of_sequence": OutOfSequence,
    "too_large": TooLarge,
    "internal": Internal,
    "unavailable": Unavailable,
    "no_leader": NoLeader,
    "not_supported": NotSupported,
}


def code_of(error: ShoalError) -> str:
    """The code that the error's nearest named class has on the wire."""
    names = {cls: code for code, cls in CODES.items()}
    return next((names[cls] for cls in type(error).__mro__ if cls in names), "internal")


def from_code(code: str, text: str) -> ShoalError:
    """The error that `code_of` named, with its text, on the other side of a wire."""
    kind = CODES.get(code, Internal)
    return kind.__new__(kind, text)  # as it was worded there: a class's own `__init__` would word it again
