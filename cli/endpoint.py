"""Where the daemon is: -H, else $SHOAL_HOST, else the node's own socket. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cli.errors import CliError

DEFAULT_HOST = "unix:///run/shoal/shoal.sock"


class Tls(NamedTuple):
    """Which certificates to show, and whether the daemon's own is checked."""

    ca: str
    cert: str
    key: str
    verify: bool


class Endpoint(NamedTuple):
    """One daemon's address: a unix socket's path, or a host and port."""

    address: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: Tls | None = None


def resolve(given: str | None, env: Mapping[str, str], *, tls: Tls | None = None) -> Endpoint:
    """The endpoint that the flags and the environment name; DOCKER_HOST is Docker's and is not read."""
    return parse(given or env.get("SHOAL_HOST") or DEFAULT_HOST, tls=tls)


def parse(text: str, *, tls: Tls | None = None) -> Endpoint:
    """unix:///path, a bare path, tcp://host[:port], or host:port."""
    scheme, sep, rest = text.partition("://")
    if not sep:
        scheme, rest = ("unix", text) if text.startswith(("/", "./", "../", "~")) else ("tcp", text)
    if scheme == "unix":
        if not rest:
            raise CliError(f"invalid host {text!r}: a unix socket needs a path, as in {DEFAULT_HOST}")
        return Endpoint(address=f"unix://{rest}", path=rest)
    if scheme in {"tcp", "http", "https"}:
        return _tcp(text, rest.rstrip("/"), tls=tls)
    raise CliError(f"invalid host {text!r}: use unix:///PATH or tcp://HOST:PORT")


def _tcp(text: str, rest: str, *, tls: Tls | None) -> Endpoint:
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, "2376" if tls else "2375"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise CliError(f"invalid host {text!r}: use unix:///PATH or tcp://HOST:PORT")
    return Endpoint(address=f"tcp://{rest}", host=host.strip("[]"), port=int(port), tls=tls)
