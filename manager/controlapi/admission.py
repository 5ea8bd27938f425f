"""What admitting a command comes to. Pure."""

from msgspec import Struct

from cluster.api.changes import Change
from cluster.api.ids import Id


class Admission(Struct, frozen=True, kw_only=True, gc=False):
    """The changes that do what was asked; none at all when it is done already, by an earlier try of the same request."""

    id: Id
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
