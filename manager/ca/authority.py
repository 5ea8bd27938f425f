"""The cluster's certificate authority: makes a root, issues certificates for nodes. Time and serial numbers come in as arguments.

Profile: X.509 v3 (RFC 5280), ECDSA P-256 with SHA-256, back-dated an hour against clocks that are behind.
"""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:16]),
        ]
    )  # a name for each key: two roots that are trusted at a time are never taken for one another
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
        .add_extension(_authority(issuer), critical=False)
        .sign(signing_key(root.key), hashes.SHA256())
    )
    return _pem(certificate)


def cross_sign(root: Root, successor_pem: str, *, now: float, serial: int) -> str:
    """The successor's name and key under `root` (PEM): who trusts only `root` follows it to what the successor issues."""
    issuer, successor = load_root(root.certificate), load_root(successor_pem)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(successor.subject)
        .issuer_name(issuer.subject)
        .public_key(successor.public_key())
        .serial_number(serial)
        .not_valid_before(moment - BACK_DATED)
        .not_valid_after(min(issuer.not_valid_after_utc, successor.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_subject_key(successor), critical=False)
        .add_extension(_authority(issuer), critical=False)
        .sign(signing_key(root.key), hashes.SHA256())
    )
    return _pem(certificate)


def load_root(pem: str) -> x509.Certificate:
    """A root's certificate. Raises InvalidArgument for what cannot be one here."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as wrong:
        raise InvalidArgument("invalid CA certificate: it is no PEM certificate") from wrong
    if len(found) != 1:
        raise InvalidArgument(f"invalid CA certificate: one certificate is wanted, these are {len(found)}")
    root = found[0]
    if not isinstance(root.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise InvalidArgument("invalid CA certificate: its key is neither RSA nor ECDSA")
    try:
        root.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as wrong:
        raise InvalidArgument("invalid CA certificate: it is not signed by itself, so it is no root") from wrong
    try:
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as missing:
        raise InvalidArgument("invalid CA certificate: it does not say that it is a CA's (basicConstraints)") from missing
    if not constraints.ca or constraints.path_length == 0:
        raise InvalidArgument("invalid CA certificate: basicConstraints must say CA:TRUE and allow one more CA below (pathlen 1 or none)")
    return root


def given_root(certificate_pem: str, key_pem: str, *, now: float) -> Root:
    """A root that an operator brings, in our spelling; the key may be missing (an external CA has it). Raises InvalidArgument."""
    certificate = load_root(certificate_pem)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if not certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc:
        raise InvalidArgument("invalid CA certificate: it is not valid now")
    if key_pem and signing_key(key_pem).public_key() != certificate.public_key():
        raise InvalidArgument("certificate key mismatch: the CA key is not that of the CA certificate")
    return Root(certificate=_pem(certificate), key=key_pem)


def signing_key(pem: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """A CA's key; unlike a node's it may be RSA. Raises InvalidArgument."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise InvalidArgument("invalid CA key: it is no PEM private key, or it is encrypted") from wrong
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidArgument("invalid CA key: it is neither RSA nor ECDSA")
    return key


def _subject_key(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


def _authority(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_subject_key(issuer))


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
