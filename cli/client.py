"""The Engine API: one daemon, JSON in and out, streams for logs and events.

Everything the CLI does is a request made here; there is no other way to the cluster.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from cli.endpoint import Endpoint, Tls
from cli.errors import ApiError, CliError, NoDaemon
from cli.http import Connection, HttpError, Response

# What the API sends is kept as it comes: the CLI shows it and sends it back, and must not lose a member it does not know.
Json = Any
Filters = Mapping[str, list[str]]
Query = Mapping[str, object]
Headers = Mapping[str, str]
_GRPC = re.compile(r"^rpc error: code = \w+ desc = ")
"""What Docker's clients expect in front of a manager's refusal, and nobody else cares for."""
_PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


class Client:
    """One daemon. A connection is kept between requests; a stream takes one of its own."""

    def __init__(self, endpoint: Endpoint, *, timeout: float | None = None) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._kept: Connection | None = None

    def get(self, path: str, query: Query | None = None, *, headers: Headers | None = None) -> Json:
        return self._call("GET", _target(path, query), headers=headers)

    def post(self, path: str, body: Json = None, query: Query | None = None, *, headers: Headers | None = None) -> Json:
        return self._call("POST", _target(path, query), body=body, headers=headers)

    def delete(self, path: str, query: Query | None = None) -> Json:
        return self._call("DELETE", _target(path, query))

    def list(self, path: str, filters: Filters | None = None, **query: object) -> list[Json]:
        """A listing, with Docker's `filters` parameter when there are any."""
        if filters:
            query["filters"] = json.dumps({key: dict.fromkeys(values, True) for key, values in filters.items()})
        return list(self.get(path, query) or [])

    def stream(self, path: str, query: Query | None = None) -> Response:
        """An answer that goes on; the caller reads it and closes it."""
        response = self._exchange(self._connect(timeout=None), "GET", _target(path, query), body=None, headers=None)
        if response.status >= 400:
            _refuse(response)
        return response

    def take_over(self, path: str, body: Json) -> Response:
        """A connection that leaves HTTP with the answer: what is sent and read from then on is the caller's, who closes it."""
        response = self._exchange(self._connect(timeout=None), "POST", _target(path, None), body=body, headers=None)
        if response.status >= 400:
            _refuse(response)
        return response

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _call(self, method: str, target: str, *, body: Json = None, headers: Headers | None = None) -> Json:
        kept, self._kept = self._kept, None
        if kept is not None and method == "GET":
            try:
                return self._finish(kept, method, target, body=body, headers=headers)
            except NoDaemon:
                pass  # a kept connection may have been closed meanwhile; reading again does no harm
            kept = None
        connection = kept or self._connect(timeout=self._timeout)
        return self._finish(connection, method, target, body=body, headers=headers)

    def _finish(self, connection: Connection, method: str, target: str, *, body: Json, headers: Headers | None) -> Json:
        response = self._exchange(connection, method, target, body=body, headers=headers)
        if response.status >= 400:
            _refuse(response)
        try:
            raw = response.read()
        except (OSError, HttpError) as broken:
            connection.close()
            raise NoDaemon(self.endpoint.address, _why(broken)) from broken
        if response.reusable:
            self._kept = connection
        else:
            connection.close()
        return _decode(raw, response)

    def _connect(self, *, timeout: float | None) -> Connection:
        at = self.endpoint
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) if at.path else None
        try:
            if sock is None:
                sock = socket.create_connection((at.host, at.port), timeout)
                sock = sock if at.tls is None else _tls_socket(sock, at.host, at.tls)
            else:
                sock.settimeout(timeout)
                sock.connect(at.path)
        except OSError as failed:
            if sock is not None:
                sock.close()
            raise self._unreachable(failed) from failed
        return Connection(sock)

    def _exchange(self, connection: Connection, method: str, target: str, *, body: Json, headers: Headers | None) -> Response:
        sent = {**(headers or {}), "User-Agent": "shoal"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            return connection.exchange(method, target, sent, payload)
        except (OSError, HttpError) as broken:
            connection.close()
            raise self._unreachable(broken) from broken

    def _unreachable(self, failed: Exception) -> CliError:
        if isinstance(failed, PermissionError):
            return CliError(
                f"permission denied while trying to connect to the Shoal daemon at {self.endpoint.address}: "
                "run as root or as a member of the socket's group"
            )
        if isinstance(failed, FileNotFoundError | ConnectionRefusedError):
            return NoDaemon(self.endpoint.address)
        return NoDaemon(self.endpoint.address, "no answer in time" if isinstance(failed, TimeoutError) else _why(failed))


def frames(response: Response) -> Iterator[tuple[int, bytes]]:
    """The (stream number, bytes) frames of a multiplexed log; 1 is stdout, 2 stderr."""
    pending = b""
    while piece := response.read1():
        pending += piece
        while len(pending) >= 8 and len(pending) >= 8 + (size := int.from_bytes(pending[4:8], "big")):
            yield pending[0], pending[8 : 8 + size]
            pending = pending[8 + size :]


def json_lines(response: Response) -> Iterator[Json]:
    """The values of a stream of concatenated JSON, each handed out as soon as it is complete."""
    decoder, pending = json.JSONDecoder(), b""
    while piece := response.read1():
        pending += piece
        while pending := pending.lstrip():
            try:
                value, end = decoder.raw_decode(text := pending.decode())
            except ValueError:
                break  # the rest of this value has not arrived yet
            yield value
            pending = text[end:].encode()


def _target(path: str, query: Query | None) -> str:
    asked = "&".join(f"{encoded(key)}={encoded(_text(value))}" for key, value in (query or {}).items())
    return encoded(path, also="/:@") + (f"?{asked}" if asked else "")


def encoded(text: str, *, also: str = "") -> str:
    """Percent-encoded, but for letters, digits, -._~ and what `also` names. The library's costs as much to import as a request takes."""
    plain = (_PLAIN + also).encode()
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def _decode(raw: bytes, response: Response) -> Json:
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except ValueError as broken:
        raise CliError(f"the daemon's answer is not JSON (HTTP {response.status}): {raw[:80]!r}") from broken


def _refuse(response: Response) -> None:
    """Raise what the daemon said."""
    try:
        said = response.read().decode("utf-8", "replace").strip()
    except (OSError, HttpError):
        said = ""
    response.close()
    try:
        said = json.loads(said)["message"]
    except (ValueError, KeyError, TypeError):
        said = said or f"HTTP {response.status} {response.reason}"
    raise ApiError(response.status, _GRPC.sub("", said))


def _tls_socket(sock: socket.socket, host: str, tls: Tls) -> socket.socket:
    import ssl  # noqa: PLC0415 - a cost that only TLS pays

    context = ssl.create_default_context()
    try:
        if tls.verify:
            context.load_verify_locations(tls.ca)
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as broken:
        sock.close()
        raise CliError(f"cannot use the TLS certificates {tls.ca}, {tls.cert}, {tls.key}: {broken}") from broken
    return context.wrap_socket(sock, server_hostname=host)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def _why(broken: Exception) -> str:
    return str(broken) or type(broken).__name__
