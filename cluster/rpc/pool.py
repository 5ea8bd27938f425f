"""Connections to the managers, one each, made when first used and made anew when our certificate is."""

from collections.abc import Callable

from cluster.rpc.client import Remote
from cluster.rpc.identity import MANAGER_NAME, Identity


class Remotes:
    """Who needs a peer asks here; nobody else closes what it gives."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity
        self._open: dict[tuple[str, str], tuple[Identity, Remote]] = {}
        self._replaced: list[Remote] = []

    def to(self, address: str, *, expect: str = MANAGER_NAME) -> Remote:
        """The connection to a manager; `expect` a node's id to accept only that one there."""
        current = self._identity()
        known = self._open.get((address, expect))
        if known is not None and known[0] is current:
            return known[1]
        if known is not None:
            self._replaced.append(known[1])
        remote = Remote(address, current, expect=expect)
        self._open[address, expect] = (current, remote)
        return remote

    async def close(self) -> None:
        for remote in (*self._replaced, *(remote for _, remote in self._open.values())):
            await remote.close()
        self._open.clear()
        self._replaced.clear()
