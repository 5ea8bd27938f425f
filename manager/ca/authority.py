"""The cluster's certificate authority: makes a root, issues certificates for nodes. Time and serial numbers come in as arguments.

Profile: X.509 v3 (RFC 5280), ECDSA P-256 with SHA-256, back-dated an hour against clocks that are behind.
"""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from cluster.api.errors import InvalidArgument
from cluster.api.ids import Id
from cluster.api.states import Role
from cluster.rpc.identity import load_key, role_name

BACK_DATED = datetime.timedelta(hours=1)
ROOT_LIFETIME = datetime.timedelta(days=365 * 20)


class Root(Struct, frozen=True, kw_only=True):
    """A root certificate and the key that issues under it, both PEM."""

    certificate: str
    key: str


def make_root(key_pem: str, *, cluster_id: Id, now: float, serial: int) -> Root:
    """A self-signed root for a new cluster; `now` in Unix seconds."""
    key = load_key(key_pem)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id)])
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(moment - BACK_DATED)
        .not_valid_after(moment + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Root(certificate=_pem(certificate), key=key_pem)


def issue(root: Root, csr_pem: str, *, node_id: Id, role: Role, cluster_id: Id, now: float, lifetime: float, serial: int) -> str:
    """A node certificate (PEM) for the request's public key; subject and role are the cluster's word, not the request's.

    `now` and `lifetime` in seconds. Raises InvalidArgument for a request that does not verify.
    """
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
    except ValueError as wrong:
        raise InvalidArgument("the certificate request cannot be read") from wrong
    if not csr.is_signature_valid:
        raise InvalidArgument("the certificate request is not signed by its own key")
    issuer = x509.load_pem_x509_certificate(root.certificate.encode())
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    unit = role_name(role)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, node_id),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(csr.public_key())
        .serial_number(serial)
        .not_valid_before(moment - BACK_DATED)
        .not_valid_after(moment + datetime.timedelta(seconds=lifetime))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node_id), x509.DNSName(unit)]), critical=False)
        .sign(load_key(root.key), hashes.SHA256())
    )
    return _pem(certificate)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
