"""How a readiness test is written, for whoever checks one and whoever asks it. Pure."""

from cluster.api.errors import InvalidArgument
from cluster.api.values import Value

COMMANDS = ("CMD", "CMD-SHELL")
HTTP, TCP = "HTTP", "TCP"
LONGEST_PATH = 2048
_PORTS = range(1, 65_536)


class Knock(Value, frozen=True, kw_only=True):
    """A connection to a port of the task's own; with a path, a GET of it."""

    port: int
    path: str = ""


def knock_of(test: tuple[str, ...]) -> Knock:
    """Of `("TCP", "5432")` or `("HTTP", "8080/healthz")`, a colon before the port allowed. Raises InvalidArgument."""
    kind, text = test
    port, slash, rest = text.removeprefix(":").partition("/")
    if not port.isdecimal() or int(port) not in _PORTS:
        raise InvalidArgument(f"readiness: {text!r} begins with no port; write {'8080/healthz' if kind == HTTP else '5432'}")
    path = slash + rest
    if kind == TCP:
        if path:
            raise InvalidArgument(f"readiness: a tcp test is a port and nothing more, not {text!r}")
        return Knock(port=int(port))
    if len(path) > LONGEST_PATH or not path.isascii() or not path.isprintable() or " " in path:
        raise InvalidArgument("readiness: the path of an http test is at most 2048 printable ASCII characters without a space")
    return Knock(port=int(port), path=path or "/")
