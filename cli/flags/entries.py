"""Flags whose value is one small fact: a label, an address, a host, an ulimit. Each reads it or says what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from cli.flags.grammar import Kind

# patterns are kept as text: compiling them is for the commands that use them
_DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][-_a-zA-Z0-9]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][-_a-zA-Z0-9]*[a-zA-Z0-9]))*"


def env(text: str) -> str:
    """KEY=VALUE; a bare KEY takes the value that the command itself has for it, if any."""
    key, equals, _ = text.partition("=")
    if not key:
        raise ValueError(f"invalid environment variable: {text}")
    return text if equals or key not in os.environ else f"{key}={os.environ[key]}"


def label(text: str) -> str:
    if text.startswith("="):
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def filter_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError("invalid filter '" + text + "'" if not text else "bad format of filter (expected name=value)")
    return key.strip().lower(), value.strip()


def filters(entries: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The filters of a listing, by name."""
    found: dict[str, list[str]] = {}
    for key, value in entries:
        found.setdefault(key, []).append(value)
    return found


def address(text: str) -> str:
    import ipaddress  # noqa: PLC0415 - only these flags pay for it

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def dns_search(text: str) -> str:
    if (domain := text.strip()) == ".":
        return domain
    if not re.search("[a-zA-Z]", domain) or len(domain) > 255 or not re.fullmatch(_DOMAIN, domain.removesuffix(".")):
        raise ValueError(f"{domain} is not a valid domain")
    return domain


def extra_host(text: str) -> str:
    """HOST:IP or HOST=IP, kept as HOST:IP."""
    host, divider, ip = text.partition("=") if "=" in text else text.partition(":")
    if not divider or not host:
        raise ValueError(f'bad format for add-host: "{text}"')
    ip = ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip
    if ip != "host-gateway":
        try:
            address(ip)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{ip}"') from None
    return f"{host}:{ip}"


def ulimit(text: str) -> dict[str, Any]:
    """NAME=SOFT[:HARD]."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = limits.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if colon else soft
    except ValueError:
        raise ValueError(f"invalid ulimit argument: {text}") from None
    if hard != -1 and (soft == -1 or soft > hard):
        said = "-1 (unlimited)" if soft == -1 else str(soft)
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {said} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def sysctl(text: str) -> str:
    """A kernel setting NAME=VALUE; the engine decides whether the container may have it."""
    return text


def generic_resource(text: str) -> str:
    if not text.partition("=")[1]:
        raise ValueError(f"invalid generic-resource expression: {text}")
    return text


def preference(text: str) -> str:
    """spread=LABEL; what it is about."""
    parts = text.split("=")
    if len(parts) != 2:
        raise ValueError('placement preference must be of the format "<strategy>=<arg>"')
    if parts[0] != "spread":
        raise ValueError(f"unsupported placement preference {parts[0]} (only spread is supported)")
    return parts[1]


def credential_spec(text: str) -> dict[str, str]:
    for prefix, member in (("config://", "Config"), ("file://", "File"), ("registry://", "Registry")):
        if text.startswith(prefix):
            return {member: text.removeprefix(prefix)}
    raise ValueError('invalid credential spec: value must be prefixed with "config://", "file://", or "registry://"')


ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
        *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)


def _kind(word: str, read: Callable[[str], Any]) -> Kind:
    return Kind(word, read, many=True)


ENV = _kind("list", env)
LABELS = _kind("list", label)
FILTER = _kind("filter", filter_pair)
ADDRESSES = _kind("list", address)
DNS_SEARCH = _kind("list", dns_search)
EXTRA_HOSTS = _kind("list", extra_host)
ULIMIT = _kind("ulimit", ulimit)
SYSCTLS = _kind("list", sysctl)
GENERIC_RESOURCES = _kind("list", generic_resource)
PREFERENCES = _kind("pref", preference)
CREDENTIAL_SPEC = Kind("credential-spec", credential_spec)
