"""What to tell whom too few managers are left for: who is missing, and what helps. Pure."""

from collections.abc import Sequence

from msgspec import Struct


class Seen(Struct, frozen=True, kw_only=True):
    """A manager that votes, and whether it was heard of just now; this one always is."""

    name: str
    addr: str
    answers: bool


def missing(voters: Sequence[Seen]) -> str:
    """One line; empty if nothing is known of others."""
    silent = [f"{one.name} ({one.addr})" for one in voters if not one.answers]
    present, needed = len(voters) - len(silent), len(voters) // 2 + 1
    if len(voters) < 2:
        return ""
    if present >= needed:
        return f"{present} of {len(voters)} managers answer and have not agreed on a leader yet: try again in a moment"
    return (
        f"{needed} of {len(voters)} managers are needed and nothing is heard of {_listed(silent)}: start them or mend the network between; "
        "if they are lost for good, `docker swarm init --force-new-cluster` on this manager goes on without them"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
