"""Every RPC, called by everyone who must not: the wrong role, no certificate, a removed node, another cluster, old TLS."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest

from cluster.api.contracts import CONTRACTS, Caller, CertificateRequest, Dispatcher, Frame, IssuedCertificate, NodeCA, RaftPeer
from cluster.api.errors import Forbidden, ShoalError, Unauthorized
from cluster.api.states import Role
from cluster.rpc import tls
from cluster.rpc.client import Remote, RpcError
from cluster.rpc.identity import MANAGER_NAME, Identity, new_csr, new_key
from cluster.rpc.methods import Method, all_methods
from cluster.rpc.server import RpcServer
from manager.ca.authority import Root, issue, make_root

pytestmark = pytest.mark.timeout(60)
REMOVED = "removednode00000000000000"


def root(cluster_id: str) -> Root:
    return make_root(new_key(), cluster_id=cluster_id, now=time.time(), serial=1)


def identity(authority: Root, node_id: str, role: Role, *, cluster_id: str = "ours", trust: Root | None = None) -> Identity:
    key = new_key()
    certificate = issue(
        authority, new_csr(key), node_id=node_id, role=role, cluster_id=cluster_id, now=time.time(), lifetime=3600, serial=2
    )
    return Identity(key=key, certificate=certificate, roots=(trust or authority).certificate)


class Everything:
    """Implements every contract and notes who got through."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, Caller]] = []

    def __getattr__(self, name: str) -> Any:
        method = next(method for method in all_methods() if method.name == name)

        async def answer(caller: Caller, request: Any) -> Any:
            self.reached.append((name, caller))
            return IssuedCertificate(certificate="", roots="") if name == "renew" else None

        async def answers(caller: Caller, request: Any) -> AsyncIterator[Any]:
            self.reached.append((name, caller))
            yield None

        return answers if method.response_streams else answer


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, Root, Everything]]:
    authority = root("ours")
    everything = Everything()

    def authorize(caller: Caller) -> None:
        if caller.node_id == REMOVED:
            raise Unauthorized("node was removed from the swarm")

    me = identity(authority, "managernode00000000000000", Role.MANAGER)
    server = RpcServer(identity=lambda: me, cluster_id="ours", authorize=authorize)
    for contract in CONTRACTS:
        server.offer(contract, everything)
    port = await server.start("127.0.0.1:0")
    yield f"127.0.0.1:{port}", authority, everything
    await server.stop(0)


async def call(address: str, credentials: Any, method: Method) -> None:
    """Call with a body that no server reads before it has checked the caller."""
    async with grpc.aio.secure_channel(address, credentials, options=tls.channel_options(MANAGER_NAME)) as channel:
        kind = ("stream" if method.request_streams else "unary") + "_" + ("stream" if method.response_streams else "unary")
        start = getattr(channel, kind)(method.path)

        async def bodies() -> AsyncIterator[bytes]:
            yield b"\x80"

        running = start(bodies() if method.request_streams else b"\x80", timeout=5)
        if method.response_streams:
            async for _ in running:
                pass
        else:
            await running


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.path)
async def test_a_role_that_the_contract_does_not_name_is_refused(served: tuple[str, Root, Everything], method: Method) -> None:
    address, authority, everything = served
    for role in set(Role) - method.roles:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(address, tls.channel_credentials(identity(authority, "somenode0000000000000000a", role)), method)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert everything.reached == []


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.path)
async def test_a_removed_node_is_refused_everywhere(served: tuple[str, Root, Everything], method: Method) -> None:
    address, authority, everything = served
    role = next(iter(sorted(method.roles)))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(address, tls.channel_credentials(identity(authority, REMOVED, role)), method)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert everything.reached == []


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.path)
async def test_no_certificate_or_one_of_another_cluster_gets_no_connection(served: tuple[str, Root, Everything], method: Method) -> None:
    address, authority, everything = served
    nobody = grpc.ssl_channel_credentials(authority.certificate.encode())
    stranger = tls.channel_credentials(identity(root("theirs"), "stranger00000000000000000", Role.MANAGER, trust=authority))
    impostor = tls.channel_credentials(
        identity(root("ours"), "impostor00000000000000000", Role.MANAGER, cluster_id="ours", trust=authority)
    )
    for credentials in (nobody, stranger, impostor):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(address, credentials, method)
        assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    assert everything.reached == []


async def test_our_root_but_another_clusters_name_is_refused(served: tuple[str, Root, Everything]) -> None:
    address, authority, everything = served
    odd = identity(authority, "oddnode000000000000000000", Role.MANAGER, cluster_id="theirs")
    async with Remote(address, odd) as remote:
        with pytest.raises(Unauthorized, match="another cluster"):
            await remote.unary(NodeCA.renew, CertificateRequest(csr=""), timeout=5)
    assert everything.reached == []


async def test_an_allowed_caller_gets_through_and_is_named(served: tuple[str, Root, Everything]) -> None:
    address, authority, everything = served
    me = identity(authority, "goodnode00000000000000000", Role.WORKER)
    async with Remote(address, me) as remote:
        await remote.unary(NodeCA.renew, CertificateRequest(csr=""), timeout=5)
    assert [(name, caller.node_id, caller.role) for name, caller in everything.reached] == [
        ("renew", "goodnode00000000000000000", Role.WORKER)
    ]


async def test_a_refused_stream_leaves_nobody_waiting_for_the_next_request(served: tuple[str, Root, Everything]) -> None:
    address, authority, _ = served

    ended = []

    async def for_ever() -> AsyncIterator[Any]:
        try:
            yield Frame(b"x")
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with Remote(address, identity(authority, REMOVED, Role.MANAGER)) as remote:
        for _ in range(3):
            with pytest.raises(ShoalError):
                await remote.send_all(RaftPeer.exchange, for_ever())
            with pytest.raises(ShoalError):
                async for _ in remote.exchange(Dispatcher.session, for_ever()):
                    pass
        assert len(ended) == 6


async def test_tls_1_2_is_not_spoken(served: tuple[str, Root, Everything]) -> None:
    address, _, _ = served
    host, port = address.split(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=context)


async def test_an_error_arrives_as_the_class_it_was_raised_as() -> None:
    authority = root("ours")

    class Refusing:
        async def admit(self, caller: Caller, request: object) -> None:
            raise Forbidden("not you")

        async def renew(self, caller: Caller, request: CertificateRequest) -> IssuedCertificate:
            raise Forbidden(f"no certificate for {caller.node_id}")

    me = identity(authority, "managernode00000000000000", Role.MANAGER)
    server = RpcServer(identity=lambda: me, cluster_id="ours", authorize=lambda _: None)
    server.offer(NodeCA, Refusing())
    port = await server.start("127.0.0.1:0")
    async with Remote(f"127.0.0.1:{port}", identity(authority, "workernode000000000000000", Role.WORKER)) as remote:
        with pytest.raises(Forbidden, match="no certificate for workernode"):
            await remote.unary(NodeCA.renew, CertificateRequest(csr="x"), timeout=5)
    await server.stop(0)


async def test_a_dead_manager_is_unavailable_and_named() -> None:
    authority = root("ours")
    async with Remote("127.0.0.1:9", identity(authority, "workernode000000000000000", Role.WORKER)) as remote:
        with pytest.raises(RpcError, match=r"manager 127\.0\.0\.1:9 cannot be reached") as failed:
            await remote.unary(NodeCA.renew, CertificateRequest(csr="x"), timeout=5)
    assert isinstance(failed.value, ShoalError)


def test_no_message_type_is_undecodable() -> None:
    for method in all_methods():
        msgspec.msgpack.Decoder(method.request)
        msgspec.msgpack.Decoder(method.response)
