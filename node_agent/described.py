"""What this node tells of itself: the inventory's description, and whose certificate it has and whom it trusts."""

from collections.abc import Sequence

from msgspec.structs import replace

from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.objects import NodeDescription, TLSInfo
from cluster.rpc.identity import Identity, issuer_of


def tls_info(identity: Identity) -> TLSInfo:
    """By this the leader, and anyone who looks, sees how far a rotation of the root has come. Pure."""
    issuer = issuer_of(identity)
    if issuer is None:
        return TLSInfo(trust_root=identity.roots)
    return TLSInfo(trust_root=identity.roots, cert_issuer_subject=issuer.subject, cert_issuer_public_key=issuer.public_key)


class Described:
    """`value` follows both while `run` runs."""

    def __init__(self, description: Latest[NodeDescription], identity: Latest[Identity]) -> None:
        self._description = description
        self._identity = identity
        self.value = Latest(self._whole())

    def _whole(self) -> NodeDescription:
        return replace(self._description.value, tls_info=tls_info(self._identity.value))

    async def run(self) -> None:
        parts: Sequence[Latest[NodeDescription] | Latest[Identity]] = (self._description, self._identity)
        while True:
            seen = [part.revision for part in parts]
            whole = self._whole()
            if whole != self.value.value:
                self.value.set(whole)
            await first_of(lambda: parts[0].wait_change(seen[0]), lambda: parts[1].wait_change(seen[1]))  # noqa: B023
