"""What a handler takes and gives: a request and the four kinds of answer. The noun modules need only this and `routing`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec

from cluster.aio.conversation import Conversation
from cluster.api.errors import InvalidArgument
from node_agent.api.filters import Filters
from node_agent.api.http import Headers
from node_agent.api.versions import ApiVersion

if TYPE_CHECKING:
    from node_agent.api.engine_link import EngineLink

T = TypeVar("T")

MAX_BODY = 4 * 1024 * 1024  # of any request that we read ourselves
MAX_SECRET_BODY = 2 * 1024 * 1024  # a secret or config of at most 1,000 KiB, in base64
_FALSY = frozenset({"", "0", "no", "false", "none"})


class Peer(NamedTuple):
    """Who is on the other end of the connection, as far as the kernel or TLS vouches for it."""

    uid: int = -1
    gid: int = -1
    pid: int = -1
    common_name: str = ""
    address: str = ""


class Query:
    """The parameters after the question mark."""

    __slots__ = ("_by_name", "pairs", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.pairs = parse_qsl(text, keep_blank_values=True) if text else []
        self._by_name = dict(reversed(self.pairs))  # the first of several, as in Go

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str, default: str = "") -> str:
        return self._by_name.get(name, default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value as Docker reads it: anything but nothing, 0, no, false and none."""
        value = self._by_name.get(name)
        return default if value is None else value.strip().lower() not in _FALSY

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number; one that is missing without a default, or is none, is refused."""
        value = self._by_name.get(name, "")
        if not value and default is not None:
            return default
        try:
            return int(value)
        except ValueError:
            raise InvalidArgument(f"invalid value {value!r} for {name}: expected a whole number") from None

    def filters(self, *allowed: str) -> Filters:
        """The `filters` parameter, in which only the `allowed` names may occur."""
        return Filters.parse(self.get("filters"), allowed=allowed)


class Body(Protocol):
    """The request's body, still on its way."""

    @property
    def kept(self) -> bytes | None:
        """What `read` has read."""
        ...

    async def read(self, at_most: int) -> bytes:
        """All of it; raises TooLarge when it is more than `at_most`."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """It as it comes, of any size."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class ApiRequest:
    """One request: all that a handler may know of it."""

    method: str
    path: str  # without the version, percent-encoded as it came
    query: Query
    headers: Headers
    version: ApiVersion  # what the client speaks: `request.version >= (1, 44)` works
    peer: Peer
    body: Body
    params: Mapping[str, str] = field(default_factory=dict)  # what the route's {names} matched, decoded

    async def read(self, *, at_most: int = MAX_BODY) -> bytes:
        """The raw body."""
        return await self.body.read(at_most)

    async def json(self, into: type[T], *, at_most: int = MAX_BODY) -> T:
        """The body as JSON of a type (`dict[str, Any]`, a `msgspec.Struct`, ...); what does not fit it is refused with the place."""
        kind = self.headers.get("content-type").partition(";")[0].strip().lower()
        if kind not in {"", "application/json"}:
            raise InvalidArgument(f"unsupported Content-Type header ({kind}): must be 'application/json'")
        raw = await self.body.read(at_most)
        if not raw.strip():
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        try:
            return msgspec.json.decode(raw, type=into)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"invalid JSON: {error}") from error
        except RecursionError as error:
            raise InvalidArgument("invalid JSON: it is nested too deeply") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """An answer that is ready."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingResponse:
    """An answer that goes on for as long as `chunks` does; its head is sent at once. A client that leaves ends `chunks` (aclose)."""

    chunks: AsyncGenerator[bytes, None]  # what an `async def` with `yield` gives
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HijackedResponse:
    """An answer that is a conversation (exec, attach): `talk` has the connection until it returns; cancelled when the client is gone."""

    talk: Callable[[Conversation], Awaitable[None]]
    content_type: str = "application/vnd.docker.raw-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReply:
    """An answer of the engine, all of it."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """Its content; None when there is none."""
        return msgspec.json.decode(self.body) if self.body.strip() else None

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def message(self) -> str:
        """The engine's words of refusal."""
        try:
            return str(self.json()["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            return self.body.decode("utf-8", "replace").strip()

    def respond(self) -> ApiResponse:
        """The same answer to our client."""
        return ApiResponse(status=self.status, body=self.body, content_type=self.headers.get("content-type", "application/json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassToEngine:
    """The engine answers. What is None goes as it came; a body that is not None takes the place of the client's."""

    path: str | None = None
    query: str | None = None
    body: bytes | None = None
    reply: Callable[[EngineReply], Awaitable[ApiResponse]] | None = None  # looks at the whole answer first; not for streams
    through: EngineLink | None = None  # another node's engine; None for the one here


Response = ApiResponse | StreamingResponse | HijackedResponse | PassToEngine
Handler = Callable[[ApiRequest], Awaitable[Response]]


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """Anything that msgspec can encode, as Docker would send it."""
    return ApiResponse(status=status, body=msgspec.json.encode(value) + b"\n", headers=headers or {})


def no_content() -> ApiResponse:
    return ApiResponse(status=204)
