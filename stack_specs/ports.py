"""Published ports in the short syntax: [address:][published:]target[/protocol], each of them a port or a range."""

import re
from ipaddress import ip_address

import msgspec

from stack_specs.values import Value

_DECIMAL = re.compile(r"[0-9]+")
_PROTOCOLS = ("tcp", "udp", "sctp")


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """One port of a service."""

    mode: str = ""
    target: int = 0
    published: int = 0
    protocol: str = ""
    address: str = ""
    """The host address to publish on; every one when empty. Not Docker's: its client drops it with a warning."""


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """The ports that one short form stands for, and what the user should hear about it."""

    ports: tuple[Port, ...]
    warnings: tuple[str, ...] = ()


class _Range(msgspec.Struct, frozen=True):
    first: int
    last: int

    @property
    def span(self) -> int:
        return self.last - self.first


def check(value: Value) -> str | None:
    """What is wrong with a port in the short syntax, or None."""
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        return "must be a whole number or a string like 8080:80"
    try:
        parse(text)
    except ValueError as error:
        return f"{error}; ports are written like 8080:80, 8080:80/udp or 8000-8003:80-83"
    return None


def parse(text: str) -> Parsed:
    """Read one short form; raise ValueError if it is none."""
    *before, container = text.split(":")
    published_text = before.pop() if before else ""
    address = ":".join(before)
    target_text, _, protocol = container.partition("/")
    protocol = (protocol.partition("/")[0] or "tcp").lower()
    if not target_text:
        raise ValueError(f"{text!r} names no container port")
    if address:
        _check_address(address)
    target = _range(target_text, "container port")
    published = _range(published_text, "published port") if published_text else None
    if published is not None and published.span != target.span and target.span:
        raise ValueError(f"the ranges {published_text} and {target_text} differ in length")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; there are tcp, udp and sctp")
    return _expand(address, published, target, protocol)


def _expand(address: str, published: _Range | None, target: _Range, protocol: str) -> Parsed:
    ports: list[Port] = []
    warnings: list[str] = []
    # As text: docker sorts the ports of a range so, which puts 10000 before 9999.
    for number in sorted(range(target.first, target.last + 1), key=lambda port: f"{port}/{protocol}"):
        if published is None:
            host = _Range(0, 0)
        elif target.span or not published.span:
            host = _Range(published.first + number - target.first, published.first + number - target.first)
        else:
            host = published
        named = ip_address(address.strip("[]")) if address else None
        chosen = str(named) if named is not None and named.version == 4 and not named.is_unspecified and published is not None else ""
        if named is not None and not named.is_unspecified and not chosen:
            shown = "" if published is None else f"{host.first}-{host.last}" if host.span else str(host.first)
            joined = f"[{address.strip('[]')}]" if ":" in address else address
            warnings.append(f"ignoring IP-address ({joined}:{shown}:{number}/{protocol}) service will listen on '0.0.0.0'")
        for host_port in range(host.first, host.last + 1):
            ports.append(Port(mode="ingress", target=number, published=host_port, protocol=protocol, address=chosen))
    return Parsed(ports=tuple(ports), warnings=tuple(warnings))


def _check_address(text: str) -> None:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ip_address(inner)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address") from error


def _range(text: str, what: str) -> _Range:
    first, *rest = text.split("-")
    ends = [first, rest[0] if rest else first]
    if not all(_DECIMAL.fullmatch(end) and int(end) <= 65535 for end in ends):
        raise ValueError(f"{text!r} is not a valid {what} (0 to 65535)")
    if int(ends[1]) < int(ends[0]):
        raise ValueError(f"the range {text!r} runs backwards")
    return _Range(int(ends[0]), int(ends[1]))
