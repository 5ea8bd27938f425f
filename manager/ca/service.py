"""Issues certificates on the leader: for nodes that join, and for nodes whose certificate ends or whose role changed."""

from collections.abc import Callable

from cluster.aio.clock import Clock
from cluster.api.contracts import AdmissionRequest, Admitted, Caller, CertificateRequest, IssuedCertificate
from cluster.api.errors import StaleSnapshot, Unavailable
from cluster.api.ids import Id
from cluster.api.objects import Cluster
from cluster.api.specs import SECOND
from cluster.api.states import Role
from manager.ca.admission import Decision, admit, cluster_of, renew
from manager.ca.authority import issue
from manager.ca.external import Signer, endpoints
from manager.ca.trust import chain_of, issuer_of, trusted
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot

_TRIES = 10


class CertificateService:
    """Implements the NodeCA contract. `serial` draws certificate serial numbers."""

    def __init__(
        self, *, snapshot: Callable[[], Snapshot], proposer: Proposer, clock: Clock, serial: Callable[[], int], signer: Signer | None = None
    ) -> None:
        self._snapshot = snapshot
        self._proposer = proposer
        self._clock = clock
        self._serial = serial
        self._signer = signer

    async def admit(self, caller: Caller, request: AdmissionRequest) -> Admitted:
        del caller
        role = await self._settle(lambda now: admit(now, request))
        certificate, roots = await self._issue(request.csr, request.node_id, role)
        cluster = cluster_of(self._snapshot())
        return Admitted(node_id=request.node_id, role=role, cluster_id=cluster.id, certificate=certificate, roots=roots)

    async def renew(self, caller: Caller, request: CertificateRequest) -> IssuedCertificate:
        role = await self._settle(lambda now: renew(now, caller.node_id))
        certificate, roots = await self._issue(request.csr, caller.node_id, role)
        return IssuedCertificate(certificate=certificate, roots=roots)

    async def _settle(self, decide: Callable[[Snapshot], Decision]) -> Role:
        """Decide on the latest snapshot until the change is committed."""
        for _ in range(_TRIES):
            decision = decide(self._snapshot())
            if not decision.changes:
                return decision.role
            try:
                await self._proposer.propose(decision.changes)
            except StaleSnapshot:
                continue
            return decision.role
        raise Unavailable("the node's entry changes too fast to issue a certificate: try again")

    async def _issue(self, csr: str, node_id: Id, role: Role) -> tuple[str, str]:
        cluster = cluster_of(self._snapshot())
        if self._signer is not None and endpoints(cluster):
            certificate = await self._signer.sign(cluster, csr, node_id=node_id, role=role)
        else:
            certificate = self._sign(cluster, csr, node_id, role)
        return certificate + chain_of(cluster), trusted(cluster)

    def _sign(self, cluster: Cluster, csr: str, node_id: Id, role: Role) -> str:
        root = issuer_of(cluster)
        if not root.key:
            raise Unavailable("the key of the swarm's CA is with an external CA, and none that signs under the present root is named")
        return issue(
            root,
            csr,
            node_id=node_id,
            role=role,
            cluster_id=cluster.id,
            now=self._clock.wall() / SECOND,
            lifetime=cluster.spec.ca_config.node_cert_expiry / SECOND,
            serial=self._serial(),
        )
