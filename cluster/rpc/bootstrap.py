"""The two calls made without a client certificate: `GET /ca` and `POST /join`, HTTPS (TLS 1.3) on the listen port + 5569.

A joining node fetches the root unverified, holds it against the digest in its token, and only then, over a connection verified
by that root, sends the secret. Each source address has a bounded number of tries.
"""

import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector, web
from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.api.contracts import AdmissionRequest, Admitted
from cluster.api.errors import Forbidden, InvalidArgument, ShoalError, Unavailable, code_of, from_code
from cluster.rpc.identity import MANAGER_NAME, Identity
from cluster.rpc.tokens import JoinToken, root_of

PORT_OFFSET = 5569
MAX_BODY = 64 * 1024
_TRIES = 10
_TRIES_WINDOW = 60.0

_STATUS = {
    "invalid": 400,
    "precondition": 400,
    "unauthorized": 401,
    "removed": 401,
    "fenced": 403,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "unavailable": 503,
    "no_leader": 503,
}


class _Refusal(Struct, frozen=True):
    message: str
    code: str = "internal"


def bootstrap_address(address: str) -> tuple[str, int]:
    """host and port of the bootstrap server of the manager whose RPCs are at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) + PORT_OFFSET


class BootstrapServer:
    """Serves the two calls on a manager."""

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        admit: Callable[[AdmissionRequest], Awaitable[Admitted]],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._admit = admit
        self._clock = clock
        self._tries: dict[str, list[float]] = {}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._loaded: Identity | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises OSError if the port is taken."""
        self.reload()
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes([web.get("/ca", self._ca), web.post("/join", self._join)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._context).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def reload(self) -> None:
        """Present the identity as it is now; called after each renewal."""
        current = self._identity()
        if current is not self._loaded:
            load_identity(self._context, current)
            self._loaded = current

    async def _ca(self, _: web.Request) -> web.Response:
        return web.Response(text=self._identity().roots, content_type="application/x-pem-file")

    async def _join(self, request: web.Request) -> web.Response:
        try:
            self._count_try(request.remote or "")
            asked = msgspec.json.decode(await request.read(), type=AdmissionRequest)
            admitted = await self._admit(asked)
        except msgspec.MsgspecError:
            return _refused(InvalidArgument("the join request cannot be read"))
        except ShoalError as error:
            return _refused(error)
        return web.Response(body=msgspec.json.encode(admitted), content_type="application/json")

    def _count_try(self, source: str) -> None:
        now = self._clock.monotonic()
        recent = [when for when in self._tries.get(source, ()) if when > now - _TRIES_WINDOW]
        if len(recent) >= _TRIES:
            raise Unavailable(f"too many join attempts from {source}: wait a minute and try again")
        self._tries = {source: [] for source in self._tries} if len(self._tries) > 10_000 else self._tries
        self._tries[source] = [*recent, now]


def _refused(error: ShoalError) -> web.Response:
    code = code_of(error)
    return web.Response(
        body=msgspec.json.encode(_Refusal(message=str(error), code=code)), status=_STATUS.get(code, 500), content_type="application/json"
    )


async def fetch_roots(address: str, token: JoinToken, *, timeout: float) -> str:
    """The root (PEM) that the token names, from the manager at `address`; of several that it trusts only this one is proven to us.

    Raises Forbidden if it is not among them.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    status, body = await _call(address, "GET /ca", unverified, body=None, timeout=timeout)
    root = root_of(token, body.decode(errors="replace")) if status == 200 else None
    if root is None:
        raise Forbidden(
            f"remote CA does not match fingerprint: {address} belongs to another cluster than the join token. "
            "Print the token again on a manager of the cluster you mean: shoal swarm join-token worker"
        )
    return root


async def ask_to_join(address: str, roots: str, request: AdmissionRequest, *, timeout: float) -> Admitted:
    """Send the token's secret to the manager, verified by `roots`; returns what it admits us as."""
    verified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    verified.minimum_version = ssl.TLSVersion.TLSv1_3
    verified.load_verify_locations(cadata=roots)
    status, body = await _call(address, "POST /join", verified, body=msgspec.json.encode(request), timeout=timeout)
    try:
        if status == 200:
            return msgspec.json.decode(body, type=Admitted)
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.MsgspecError as wrong:
        raise Unavailable(f"manager {address} answered {status} in a way that is not Shoal's") from wrong
    raise from_code(refusal.code, refusal.message)


async def _call(address: str, call: str, context: ssl.SSLContext, *, body: bytes | None, timeout: float) -> tuple[int, bytes]:
    host, port = bootstrap_address(address)
    verb, path = call.split()
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}{path}"
    options: dict[str, Any] = {"server_hostname": MANAGER_NAME} if context.check_hostname else {}
    try:
        async with (
            ClientSession(connector=TCPConnector(ssl=context), timeout=ClientTimeout(total=timeout)) as session,
            session.request(verb, url, data=body, **options) as answer,
        ):
            return answer.status, await answer.read()
    except ClientConnectorError as failed:
        raise Unavailable(f"cannot reach manager {address} for joining ({host} port {port}/tcp): {_fault(failed.os_error)}") from failed
    except (TimeoutError, ClientError, OSError) as failed:
        raise Unavailable(f"manager {address} did not answer the join in {timeout:g} s ({host} port {port}/tcp)") from failed


def _fault(error: OSError) -> str:
    """What an operator can do something about."""
    if isinstance(error, ssl.SSLError):
        return "what listens there is no manager of Shoal"
    fault = os.strerror(error.errno) if error.errno else str(error)
    return f"{fault}; name a manager's address, and see that the port is open on the way there"


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Give an ssl context our certificate and key, which it only takes as files: through memory, never on a disk."""
    memory = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(memory, (identity.certificate + identity.key).encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
