"""Published ports: the short form [PUBLISHED:]TARGET[/PROTOCOL], ranges too, and the long form target=...,published=..."""

from __future__ import annotations

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
        value = value.lower()
        if not equals or not value:
            raise ValueError(f"invalid field: {field}")
        match key:
            case "protocol":
                if value not in PROTOCOLS:
                    raise ValueError(f"invalid protocol value '{value}'")
                found["Protocol"] = value
            case "mode":
                if value not in {"ingress", "host"}:
                    raise ValueError(f"invalid publish mode value ({value}): must be either 'ingress' or 'host'")
                found["PublishMode"] = value
            case "target":
                found["TargetPort"] = _number(value, "target")
            case "published":
                found["PublishedPort"] = _number(value, "published")
            case _:
                raise ValueError(f"invalid field key: {key}")
    if not found.get("TargetPort"):
        raise ValueError(f"missing mandatory field 'target' in '{text}'")
    return [found]


def _short(text: str) -> list[dict[str, Any]]:
    spec, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    published_text, _, target_text = spec.rpartition(":")
    address, colon, published_text = published_text.rpartition(":")
    if colon and address:
        raise ValueError(f"hostip is not supported: {text}. Use target=PORT,published=PORT,mode=host on the nodes that have the address")
    first, last = _range(target_text, "containerPort", text)
    low, high = _range(published_text, "hostPort", text) if published_text else (0, 0)
    targets = range(first, last + 1)
    if not published_text:
        return [_port(target, 0, protocol) for target in targets]
    if len(targets) == 1:
        return [_port(first, published, protocol) for published in range(low, high + 1)]
    if len(targets) != high - low + 1:
        raise ValueError(f"invalid ranges specified for container and host Ports: {target_text} and {published_text}")
    return [_port(target, low + at, protocol) for at, target in enumerate(targets)]


def _port(target: int, published: int, protocol: str) -> dict[str, Any]:
    found: dict[str, Any] = {"Protocol": protocol, "TargetPort": target, "PublishMode": "ingress"}
    return {**found, "PublishedPort": published} if published else found


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


PORTS = Kind("port", ports, many=True, spread=True)
