"""A node's identity: its key (ECDSA P-256), its certificate and the roots it trusts. Pure but for the key's randomness.

A certificate says: CN the node's id, OU `swarm-manager` or `swarm-worker`, O the cluster's id. Its DNS names are the node's id and
the OU, so a client can demand "a manager" or "this very node" of whom it dials, whatever the address.
"""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from cluster.api.errors import InvalidArgument
from cluster.api.ids import Id
from cluster.api.states import Role

MANAGER_NAME = "swarm-manager"
WORKER_NAME = "swarm-worker"


class Identity(Struct, frozen=True, kw_only=True):
    """What a node proves itself with, and what it holds others against. All PEM."""

    key: str
    certificate: str
    roots: str


class CertificateFacts(Struct, frozen=True, kw_only=True):
    node_id: Id
    role: Role
    cluster_id: Id
    not_before: float
    """Unix seconds."""
    not_after: float

    def renewal_window(self) -> tuple[float, float]:
        """Between which moments (Unix seconds) to renew: from half to four fifths of the validity, well before it ends."""
        lifetime = self.not_after - self.not_before
        return self.not_before + lifetime * 0.5, self.not_before + lifetime * 0.8


def role_name(role: Role) -> str:
    return MANAGER_NAME if role is Role.MANAGER else WORKER_NAME


def new_key() -> str:
    """A new P-256 key, PKCS#8 PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def load_key(pem: str | bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidArgument("the key is not an ECDSA key; Shoal's certificates use ECDSA P-256")
    return key


def key_of(certificate_pem: str, keys_pem: str) -> str:
    """The key of this certificate, out of one or more. Raises InvalidArgument if it is not among them."""
    wanted = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
    end = "-----END PRIVATE KEY-----\n"
    for part in keys_pem.split(end)[:-1]:
        if load_key(part + end).public_key() == wanted:
            return part + end
    raise InvalidArgument("the key is not that of the certificate")


def new_csr(key_pem: str) -> str:
    """A request for a certificate: the issuer takes nothing from it but the public key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(load_key(key_pem), hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


class Issuer(Struct, frozen=True, kw_only=True):
    """Whose certificate it is: both DER."""

    subject: bytes
    public_key: bytes


def issuer_of(identity: Identity) -> Issuer | None:
    """The CA that issued our certificate, of those in its chain and those we trust; None if it is none of them."""
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    for candidate in x509.load_pem_x509_certificates((identity.certificate + identity.roots).encode()):
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return issuer_facts(candidate)
    return None


def issuer_facts(root: str | x509.Certificate) -> Issuer:
    """A CA as an issuer (PEM: of a bundle, the first)."""
    certificate = x509.load_pem_x509_certificate(root.encode()) if isinstance(root, str) else root
    key = certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Issuer(subject=certificate.subject.public_bytes(), public_key=key)


def facts(certificate_pem: str | bytes) -> CertificateFacts:
    """What a certificate says. Raises InvalidArgument for one that is none of ours."""
    try:
        raw = certificate_pem.encode() if isinstance(certificate_pem, str) else certificate_pem
        certificate = x509.load_pem_x509_certificate(raw)
        subject = certificate.subject
        node_id = str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        unit = str(subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)
        cluster_id = str(subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)
        role = {MANAGER_NAME: Role.MANAGER, WORKER_NAME: Role.WORKER}[unit]
    except (ValueError, IndexError, KeyError) as wrong:
        raise InvalidArgument("this is not the certificate of a swarm node") from wrong
    return CertificateFacts(
        node_id=node_id,
        role=role,
        cluster_id=cluster_id,
        not_before=_unix(certificate.not_valid_before_utc),
        not_after=_unix(certificate.not_valid_after_utc),
    )


def _unix(moment: datetime.datetime) -> float:
    return moment.timestamp()
