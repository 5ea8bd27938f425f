"""A CFSSL endpoint for tests: `python -m integration.external_ca FOLDER ADDRESS PORT` signs what it is sent with FOLDER/ca.pem.

What it was asked for is appended to FOLDER/asked.
"""

import datetime
import ipaddress
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.rpc.identity import load_key, new_key
from manager.ca.authority import make_root


def make_ca(folder: Path) -> None:
    """FOLDER/ca.pem and FOLDER/ca.key."""
    root = make_root(new_key(), cluster_id="an authority outside", now=time.time(), serial=int(time.time()))
    (folder / "ca.pem").write_text(root.certificate)
    (folder / "ca.key").write_text(root.key)


class Authority:
    """The CA in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        self._key = load_key((folder / "ca.key").read_bytes())

    def _issue(self, subject: x509.Name, key: Any, names: list[x509.GeneralName]) -> str:
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    async def sign(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        with (self._folder / "asked").open("a") as log:
            log.write(json.dumps(asked["subject"]) + "\n")
        csr = x509.load_pem_x509_csr(asked["certificate_request"].encode())
        named = asked["subject"]["names"][0]
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, named["O"]),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, named["OU"]),
                x509.NameAttribute(NameOID.COMMON_NAME, asked["subject"]["CN"]),
            ]
        )
        certificate = self._issue(subject, csr.public_key(), [x509.DNSName(name) for name in asked["hosts"]])
        return web.json_response({"success": True, "result": {"certificate": certificate}, "errors": [], "messages": []})

    def context(self, address: str) -> ssl.SSLContext:
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        certificate = self._issue(name, load_key(key).public_key(), [x509.IPAddress(ipaddress.ip_address(address))])
        (self._folder / "server.pem").write_text(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem")
        return context


def main() -> None:
    folder, address, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    authority = Authority(folder)
    app = web.Application()
    app.add_routes([web.post("/api/v1/cfssl/sign", authority.sign)])
    web.run_app(app, host=address, port=port, ssl_context=authority.context(address), print=None)


if __name__ == "__main__":
    main()
