"""Published ports: the short form [[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL], ranges too, and the long form target=...,published=..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from cli.flags import values
from cli.flags.grammar import Kind

PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def ports(text: str) -> list[dict[str, Any]]:
    """One --publish value; a range publishes several ports."""
    return _long(text) if "=" in text else _short(text)


def _long(text: str) -> list[dict[str, Any]]:
    found: dict[str, Any] = {"Protocol": "tcp", "PublishMode": "ingress"}
    for field in values.fields(text):
        key, equals, value = field.partition("=")
        if not equals or not value:
            raise ValueError(f"invalid field: {field.lower()}")
        if key not in _FIELDS:
            raise ValueError(f"invalid field key: {key}")
        member, read = _FIELDS[key]
        found[member] = read(value.lower())
    if not found.get("TargetPort"):
        raise ValueError(f"missing mandatory field 'target' in '{text}'")
    if "HostIP" in found and not found.get("PublishedPort"):
        raise ValueError(f"an address needs a published port: '{text}'")
    return [found]


def _short(text: str) -> list[dict[str, Any]]:
    spec, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    published_text, _, target_text = spec.rpartition(":")
    address, colon, published_text = published_text.rpartition(":")
    if address and not published_text:
        raise ValueError(f"an address needs a published port: '{text}'")
    on = {"HostIP": _address(address)} if colon and address else {}
    first, last = _range(target_text, "containerPort", text)
    low, high = _range(published_text, "hostPort", text) if published_text else (0, 0)
    targets = range(first, last + 1)
    if not published_text:
        return [_port(target, 0, protocol) for target in targets]
    if len(targets) == 1:
        return [_port(first, published, protocol) | on for published in range(low, high + 1)]
    if len(targets) != high - low + 1:
        raise ValueError(f"invalid ranges specified for container and host Ports: {target_text} and {published_text}")
    return [_port(target, low + at, protocol) | on for at, target in enumerate(targets)]


def _port(target: int, published: int, protocol: str) -> dict[str, Any]:
    found: dict[str, Any] = {"Protocol": protocol, "TargetPort": target, "PublishMode": "ingress"}
    return {**found, "PublishedPort": published} if published else found


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError(f"invalid address {text}: ports are published on an IPv4 address of a host") from None


def _range(text: str, what: str, whole: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not text:
        raise ValueError(f"no port specified: {whole}<empty>")
    try:
        first = int(low)
        last = int(high) if dash else first
        if not (0 <= first <= 65535 and 0 <= last <= 65535):
            raise ValueError
    except ValueError:
        raise ValueError(f"invalid {what}: {text}") from None
    if last < first:
        raise ValueError(f"invalid {what}: {text}")
    return first, last


def _number(text: str, what: str) -> int:
    try:
        number = int(text)
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f"invalid {what} port ({text}): value must be an integer from 0 to 65535") from None
    return number


def _protocol(value: str) -> str:
    if value not in PROTOCOLS:
        raise ValueError(f"invalid protocol value '{value}'")
    return value


def _mode(value: str) -> str:
    if value not in {"ingress", "host"}:
        raise ValueError(f"invalid publish mode value ({value}): must be either 'ingress' or 'host'")
    return value


_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "protocol": ("Protocol", _protocol),
    "mode": ("PublishMode", _mode),
    "target": ("TargetPort", lambda value: _number(value, "target")),
    "published": ("PublishedPort", lambda value: _number(value, "published")),
    "address": ("HostIP", _address),
}
PORTS = Kind("port", ports, many=True, spread=True)
