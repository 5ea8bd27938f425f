"""A CA outside of the cluster that signs its nodes' certificates, over CFSSL's protocol: one POST, JSON in and out, HTTPS.

We say subject and names; what comes back is believed only if it says just that, for that key, under the cluster's root.
"""

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from msgspec import Struct

from cluster.api.errors import InvalidArgument, Unavailable
from cluster.api.ids import Id
from cluster.api.objects import Cluster
from cluster.api.specs import ExternalCA
from cluster.api.states import Role
from cluster.rpc.bootstrap import load_identity
from cluster.rpc.identity import CertificateFacts, Identity, facts, role_name
from manager.ca.trust import issuer_of, trusted

log = logging.getLogger(__name__)

TIMEOUT = 4.0
"""Seconds for each endpoint; they are asked one after the other."""
MAX_ANSWER = 256 * 1024


class Signer(Protocol):
    async def sign(self, cluster: Cluster, csr: str, *, node_id: Id, role: Role) -> str:
        """A certificate (PEM). Raises Unavailable if no endpoint gives a good one."""
        ...


def endpoints(cluster: Cluster) -> Sequence[ExternalCA]:
    """Those that sign under the root that issues now; one that names no root is taken to."""
    issuer = issuer_of(cluster).certificate
    return [one for one in cluster.spec.ca_config.external_cas if not one.ca_cert or _same(one.ca_cert, issuer)]


def _same(one: str, other: str) -> bool:
    try:
        return x509.load_pem_x509_certificate(one.encode()) == x509.load_pem_x509_certificate(other.encode())
    except ValueError:
        return False


class _Complaint(Struct, frozen=True):
    message: str = ""


class _Result(Struct, frozen=True):
    certificate: str = ""


class _Answer(Struct, frozen=True):
    success: bool = False
    result: _Result | None = None
    errors: tuple[_Complaint, ...] = ()


def request_for(csr: str, *, node_id: Id, role: Role, cluster_id: Id) -> Mapping[str, Any]:
    """What CFSSL's `sign` endpoint is sent."""
    unit = role_name(role)
    subject = {"CN": node_id, "names": [{"OU": unit, "O": cluster_id}]}
    return {"hosts": [unit, node_id], "certificate_request": csr, "subject": subject}


def certificate_in(answer: bytes, cluster: Cluster, csr: str, *, node_id: Id, role: Role) -> str:
    """The certificate that was asked for. Raises InvalidArgument for anything else."""
    try:
        said = msgspec.json.decode(answer, type=_Answer)
    except msgspec.MsgspecError as wrong:
        raise InvalidArgument("its answer is not CFSSL's") from wrong
    if not said.success or said.result is None or not said.result.certificate:
        raise InvalidArgument("it refused: " + ("; ".join(one.message for one in said.errors) or "without a reason"))
    text = said.result.certificate
    shown = facts(text)
    certificate = x509.load_pem_x509_certificate(text.encode())
    if (shown.node_id, shown.role, shown.cluster_id) != (node_id, role, cluster.id):
        raise InvalidArgument("its certificate is for another node or role than was asked for")
    if certificate.public_key() != x509.load_pem_x509_csr(csr.encode()).public_key():
        raise InvalidArgument("its certificate is for another key")
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer_of(cluster).certificate.encode()))
    except (ValueError, TypeError, InvalidSignature) as wrong:
        raise InvalidArgument("its certificate is not of the cluster's root") from wrong
    _check_names(certificate, shown)
    return text if text.endswith("\n") else text + "\n"


def _check_names(certificate: x509.Certificate, shown: CertificateFacts) -> None:
    """Peers dial by these names, whatever the address."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not {shown.node_id, role_name(shown.role)} <= set(names):
        raise InvalidArgument("its certificate lacks the names that were asked for")


class CfsslSigner:
    """Asks the endpoints in their order, as the manager that we are."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity

    async def sign(self, cluster: Cluster, csr: str, *, node_id: Id, role: Role) -> str:
        body = msgspec.json.encode(request_for(csr, node_id=node_id, role=role, cluster_id=cluster.id))
        problems = []
        for endpoint in endpoints(cluster):
            try:
                answer = await self._post(endpoint, trusted(cluster), body)
                return certificate_in(answer, cluster, csr, node_id=node_id, role=role)
            except (ClientError, OSError, TimeoutError, InvalidArgument) as failed:
                problems.append(f"{endpoint.url}: {str(failed) or type(failed).__name__}")
                log.warning("external CA %s", problems[-1])
        reason = "; ".join(problems) or "none that signs under the present root is named"
        raise Unavailable(f"no external CA signed the certificate of node {node_id}: {reason}")

    async def _post(self, endpoint: ExternalCA, roots: str, body: bytes) -> bytes:
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=roots + endpoint.ca_cert)
        load_identity(context, self._identity())
        async with (
            ClientSession(connector=TCPConnector(ssl=context), timeout=ClientTimeout(total=TIMEOUT)) as session,
            session.post(endpoint.url, data=body, headers={"Content-Type": "application/json"}) as answer,
        ):
            return await answer.content.read(MAX_ANSWER)
