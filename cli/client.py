"""The Engine API over HTTP: one connection to one daemon, JSON in and out, streams for logs and events.

Everything the CLI does is a request made here; there is no other way to the cluster. Kept to http.client so that
`service ls` starts in tens of milliseconds.
"""

from __future__ import annotations

import codecs
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from cli.endpoint import Endpoint, Tls
from cli.errors import ApiError, CliError, NoDaemon

# What the API sends is decoded as it comes: the CLI shows it and sends it back, and must not lose a member it does not know.
Json = Any
Filters = Mapping[str, list[str]]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One daemon. A connection is kept between requests; a stream takes one of its own."""

    def __init__(self, endpoint: Endpoint, *, timeout: float | None = None) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._kept: http.client.HTTPConnection | None = None

    def get(self, path: str, query: Mapping[str, object] | None = None, *, headers: Mapping[str, str] | None = None) -> Json:
        return self._call("GET", path, query, headers=headers)

    def post(
        self, path: str, body: Json = None, query: Mapping[str, object] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Json:
        return self._call("POST", path, query, body=body, headers=headers)

    def delete(self, path: str, query: Mapping[str, object] | None = None) -> Json:
        return self._call("DELETE", path, query)

    def list(self, path: str, filters: Filters | None = None, **query: object) -> list[Json]:
        """A listing, with Docker's `filters` parameter when there are any."""
        if filters:
            query["filters"] = json.dumps({key: dict.fromkeys(values, True) for key, values in filters.items()})
        return list(self.get(path, query) or [])

    def stream(self, path: str, query: Mapping[str, object] | None = None) -> http.client.HTTPResponse:
        """An answer that goes on; the caller reads it and closes it."""
        connection = self._connect(timeout=None)
        response = self._exchange(connection, "GET", path, query, body=None, headers=None)
        if response.status >= 400:
            _refuse(response)
        return response

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        *,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        connection = self._kept or self._connect(timeout=self._timeout)
        self._kept = None
        response = self._exchange(connection, method, path, query, body=body, headers=headers)
        if response.status >= 400:
            _refuse(response)
        raw = _read_all(response, self.endpoint)
        if not response.will_close:
            self._kept = connection
        return _decode(raw, response)

    def _connect(self, *, timeout: float | None) -> http.client.HTTPConnection:
        at = self.endpoint
        if at.path:
            return _UnixConnection(at.path, timeout)
        if at.tls is not None:
            return http.client.HTTPSConnection(at.host, at.port, timeout=timeout, context=_tls_context(at.tls))
        return http.client.HTTPConnection(at.host, at.port, timeout=timeout)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        *,
        body: Json,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        target = quote(path, safe="/:@") + ("?" + urlencode({k: _text(v) for k, v in query.items()}) if query else "")
        sent = dict(headers or {})
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent["User-Agent"] = "shoal"
        try:
            connection.request(method, target, payload, sent)
            return connection.getresponse()
        except PermissionError as refused:
            raise CliError(
                f"permission denied while trying to connect to the Shoal daemon at {self.endpoint.address}: "
                "run as root or as a member of the socket's group"
            ) from refused
        except TimeoutError as silent:
            raise NoDaemon(self.endpoint.address, "no answer in time") from silent
        except (FileNotFoundError, ConnectionRefusedError) as absent:
            raise NoDaemon(self.endpoint.address) from absent
        except (OSError, http.client.HTTPException) as broken:
            raise NoDaemon(self.endpoint.address, _why(broken)) from broken


def frames(response: http.client.HTTPResponse) -> Iterator[tuple[int, bytes]]:
    """The (stream number, bytes) frames of a multiplexed log; 1 is stdout, 2 stderr."""
    while len(head := _exactly(response, 8)) == 8:
        yield head[0], _exactly(response, int.from_bytes(head[4:8], "big"))


def json_lines(response: http.client.HTTPResponse) -> Iterator[Json]:
    """The values of a stream of concatenated JSON, each handed out as soon as it is complete."""
    decoder, characters, pending = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("replace"), ""
    while chunk := response.read1(65536):
        pending += characters.decode(chunk)
        while pending := pending.lstrip():
            try:
                value, end = decoder.raw_decode(pending)
            except ValueError:
                break  # the rest of this value has not arrived yet
            yield value
            pending = pending[end:]


def _exactly(response: http.client.HTTPResponse, size: int) -> bytes:
    parts, missing = [], size
    while missing and (part := response.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _read_all(response: http.client.HTTPResponse, at: Endpoint) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as broken:
        raise NoDaemon(at.address, _why(broken)) from broken


def _decode(raw: bytes, response: http.client.HTTPResponse) -> Json:
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except ValueError as broken:
        raise CliError(f"the daemon's answer is not JSON (HTTP {response.status}): {raw[:80]!r}") from broken


def _refuse(response: http.client.HTTPResponse) -> None:
    raw = response.read()
    said = raw.decode("utf-8", "replace").strip()
    try:
        said = json.loads(raw)["message"]
    except (ValueError, KeyError, TypeError):
        said = said or f"HTTP {response.status} {response.reason}"
    raise ApiError(response.status, said)


def _tls_context(tls: Tls) -> Any:  # an ssl.SSLContext; ssl is imported only by those who use it
    import ssl  # noqa: PLC0415 - a cost that only TCP pays

    context = ssl.create_default_context()
    try:
        if tls.verify:
            context.load_verify_locations(tls.ca)
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as broken:
        raise CliError(f"cannot use the TLS certificates {tls.ca}, {tls.cert}, {tls.key}: {broken}") from broken
    return context


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def _why(broken: Exception) -> str:
    return str(broken) or type(broken).__name__
