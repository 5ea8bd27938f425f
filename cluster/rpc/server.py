"""The serving side of the contracts on gRPC: proves who calls, enforces the roles, turns our errors into statuses.

Nothing gets past here without: TLS 1.3, a certificate of this cluster's root, its cluster's name in it, a role that the method allows,
and a node that the store still knows in that role (`authorize`), so that `node rm` takes effect at once.
"""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import msgspec

from cluster.api.contracts import Caller
from cluster.api.errors import Forbidden, InvalidArgument, ShoalError, Unauthorized, code_of
from cluster.api.ids import Id
from cluster.api.states import Role
from cluster.rpc import tls
from cluster.rpc.identity import Identity, facts
from cluster.rpc.methods import Method, methods_of

log = logging.getLogger(__name__)

CODE_KEY = "shoal-code"
LEADER_KEY = "shoal-leader"

Authorize = Callable[[Caller], Role | None]
"""Raises for a caller that the store does not (any longer) know; gives the role that the store has for it, None for its certificate's."""

_STATUS = {
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "precondition": grpc.StatusCode.FAILED_PRECONDITION,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "removed": grpc.StatusCode.UNAUTHENTICATED,
    "fenced": grpc.StatusCode.PERMISSION_DENIED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "conflict": grpc.StatusCode.ALREADY_EXISTS,
    "out_of_sequence": grpc.StatusCode.ABORTED,
    "too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "internal": grpc.StatusCode.INTERNAL,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "no_leader": grpc.StatusCode.UNAVAILABLE,
    "not_supported": grpc.StatusCode.UNIMPLEMENTED,
}


class RpcServer:
    """Serves implementations of contracts on one address. `identity` is read anew for each handshake: renewal needs no restart."""

    def __init__(self, *, identity: Callable[[], Identity], cluster_id: Id, authorize: Authorize) -> None:
        self._identity = identity
        self._cluster_id = cluster_id
        self._authorize = authorize
        self._presented: Identity | None = None
        self._server = grpc.aio.server(options=tls.server_options())

    def offer(self, contract: type, implementation: object, *, authorize: Authorize | None = None) -> None:
        """Serve this contract, for callers that `authorize` (or the server's own one) lets pass. Before `start`."""
        methods = methods_of(contract)
        check = authorize or self._authorize
        handlers = {method.name: self._handler(method, getattr(implementation, method.name), check) for method in methods}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(methods[0].service, handlers),))

    async def start(self, address: str) -> int:
        """Listen on host:port; returns the port. Raises OSError naming the address if that is taken."""
        self._presented = self._identity()
        credentials = grpc.dynamic_ssl_server_credentials(tls.server_configuration(self._presented), self._renewed, True)
        try:
            port: int = self._server.add_secure_port(address, credentials)
        except RuntimeError as failed:
            raise OSError(f"cannot listen on {address}: is another daemon using it? Choose another with --listen-addr") from failed
        await self._server.start()
        return port

    async def stop(self, grace: float) -> None:
        await self._server.stop(grace)

    def _renewed(self) -> object | None:
        current = self._identity()
        if current is self._presented:
            return None
        self._presented = current
        return tls.server_configuration(current)

    def _handler(self, method: Method, serve: Callable[..., Any], authorize: Authorize) -> object:
        decode = msgspec.msgpack.Decoder(method.request).decode
        encode = msgspec.msgpack.Encoder().encode

        async def respond(request: Any, context: Any) -> Any:
            caller = await self._caller(method, context, authorize)
            with_request = _decoded(request, decode) if method.request_streams else None
            try:
                return await serve(caller, with_request if with_request is not None else decode(request))
            except msgspec.ValidationError as wrong:
                await _refuse(context, InvalidArgument(str(wrong)))
            except ShoalError as refused:
                await _refuse(context, refused)

        async def respond_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            caller = await self._caller(method, context, authorize)
            argument = _decoded(request, decode) if method.request_streams else decode(request)
            try:
                async for answer in serve(caller, argument):
                    yield answer
            except msgspec.ValidationError as wrong:
                await _refuse(context, InvalidArgument(str(wrong)))
            except ShoalError as refused:
                await _refuse(context, refused)

        kind = ("stream" if method.request_streams else "unary") + "_" + ("stream" if method.response_streams else "unary")
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(respond_stream if method.response_streams else respond, None, encode)

    async def _caller(self, method: Method, context: Any, authorize: Authorize) -> Caller:
        try:
            caller = self._identify(context)
            if caller.role not in method.roles:
                raise Forbidden(f"a {caller.role} may not call {method.contract}.{method.name}")
            if (authorize(caller) or caller.role) not in method.roles:
                raise Forbidden(f"node {caller.node_id} was demoted since its certificate was issued")
        except ShoalError as refused:
            log.warning("refused %s of %s: %s", method.path, context.peer(), refused)
            await _refuse(context, refused)
            raise
        return caller

    def _identify(self, context: Any) -> Caller:
        proof = context.auth_context()
        if proof.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Unauthorized("only TLS 1.3 is spoken here")
        pem = proof.get("x509_pem_cert")
        if not pem:
            raise Unauthorized("no certificate was shown")
        shown = facts(pem[0])
        if shown.cluster_id != self._cluster_id:
            raise Unauthorized(f"the certificate is of another cluster ({shown.cluster_id})")
        return Caller(node_id=shown.node_id, role=shown.role, peer=context.peer())


async def _decoded(requests: AsyncIterator[bytes], decode: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield decode(request)


async def _refuse(context: Any, error: ShoalError) -> None:
    """End the call with the error's status; the code in the metadata lets the caller raise the same class."""
    code = code_of(error)
    metadata = [(CODE_KEY, code)]
    leader = getattr(error, "leader_addr", "")
    if leader:
        metadata.append((LEADER_KEY, leader))
    await context.abort(_STATUS[code], str(error), tuple(metadata))
