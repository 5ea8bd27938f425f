"""The API over TCP with certificates on both sides, half-closing included."""

import asyncio
import datetime
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integration.proxy.conftest import ROOT, Docker, Dockerd, end, wait_until
from integration.proxy.scripted import staged
from node_agent.api.listeners import bind_tcp
from node_agent.api.tls import TlsCodec
from node_agent.api.wire import Hangups, Wire

NOW = datetime.datetime.now(datetime.UTC)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A CA that writes what docker expects into a folder: ca.pem, and a certificate and key for each name."""

    def __init__(self, home: Path) -> None:
        self.home, self._key = home, ec.generate_private_key(ec.SECP256R1())
        self._write("ca", self._sign("ca", self._key.public_key(), is_ca=True))

    def issue(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._sign(name, key.public_key(), is_ca=False))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.home / ("key.pem" if name == "cert" else f"{name}-key.pem")).write_bytes(private)

    def _sign(self, name: str, key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("127.0.0.1")])
        builder = x509.CertificateBuilder(named("ca"), named(name), key, x509.random_serial_number(), NOW, NOW + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True).add_extension(
            hosts, critical=False
        )
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        (self.home / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("certificates")
    authority = Authority(home)
    authority.issue("server")
    authority.issue("cert")  # the client's, as docker names it
    return home


def server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    return context


def client_context(certificates: Path, *, with_certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if with_certificate:
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    return context


@asynccontextmanager
async def dialled(port: int, context: ssl.SSLContext) -> AsyncGenerator[Wire, None]:
    hangups, closed = Hangups(), asyncio.Event()
    codec = TlsCodec(context, server_side=False, server_hostname="localhost")
    _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(hangups, tls=codec), "127.0.0.1", port)
    try:
        yield wire
    finally:
        wire.on_gone(closed.set)
        wire.abort()
        await closed.wait()
        hangups.close()


async def everything(wire: Wire) -> bytes:
    said = b""
    while data := await wire.read():
        said += data
    return said


async def test_each_direction_of_a_tls_connection_ends_by_itself(certificates: Path, tmp_path: Path) -> None:
    async def script(_: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        heard = await reader.read()
        writer.write(b"heard %d" % len(heard))

    listening = bind_tcp("127.0.0.1", 0, tls=server_context(certificates))
    port = listening.sock.getsockname()[1]
    async with staged(tmp_path, more=[listening]) as stage:
        stage.engine.script = script
        async with dialled(port, client_context(certificates)) as wire:
            wire.write(b"POST /v1.41/containers/c/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            await wire.send(b"x" * 1_000_000)
            wire.write_eof()
            assert (await everything(wire)).endswith(b"\r\n\r\nheard 1000000")


async def test_a_client_without_a_certificate_is_turned_away(certificates: Path, tmp_path: Path) -> None:
    listening = bind_tcp("127.0.0.1", 0, tls=server_context(certificates))
    port = listening.sock.getsockname()[1]
    async with staged(tmp_path, more=[listening]) as stage:
        async with dialled(port, client_context(certificates, with_certificate=False)) as wire:
            wire.write(b"GET /x HTTP/1.1\r\nHost: d\r\n\r\n")
            assert await everything(wire) == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: d\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()
        assert stage.engine.requests == []
        async with dialled(port, client_context(certificates)) as wire:
            wire.write(b"GET /v1.41/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            assert (await everything(wire)).endswith(b"ok")


@pytest.fixture
def remote(engine: Dockerd, certificates: Path, tmp_path: Path) -> Iterator[Docker]:
    """The newer CLI over TCP with --tlsverify."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "integration/proxy/front.py"), engine.socket, str(tmp_path / "tls.sock")]
    process = subprocess.Popen(
        [*command, "--tcp", str(port), "--certificates", str(certificates)], env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    )
    try:
        wait_until((tmp_path / "tls.sock").exists, "the front listens")
        yield Docker(
            "/usr/local/bin/docker",
            str(tmp_path / "unused"),
            {"DOCKER_HOST": f"tcp://localhost:{port}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)},
        )
    finally:
        end(process)


@pytest.mark.root
@pytest.mark.engine
def test_the_stock_cli_works_over_tls(remote: Docker) -> None:
    assert remote("run", "--rm", "-i", "bb", "cat", stdin=b"through TLS\n") == "through TLS"
    assert "tls" not in remote.refused("exec", "missing", "true").lower()
    assert Docker(remote.cli, remote.socket, {**remote.env, "DOCKER_CERT_PATH": "/nowhere"}).refused("ps")
