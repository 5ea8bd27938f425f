"""Image references as a user writes them and as the API wants them, and the digest that a registry knows for a tag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cli.client import Client
from cli.errors import CliError

DEFAULT_DOMAIN = "docker.io"
_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


class Reference(NamedTuple):
    """Where an image is: registry, repository, tag, digest."""

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def familiar(self) -> str:
        """The short form: Docker's own registry and its library go without saying."""
        path = self.path.removeprefix("library/") if self.domain == DEFAULT_DOMAIN else self.path
        name = path if self.domain == DEFAULT_DOMAIN else f"{self.domain}/{path}"
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference | None:
    """The reference, or None if it is none: an image's id, or a name that no registry could have."""
    if len(text) == 64 and not set(text) - set("0123456789abcdef"):
        return None
    rest, _, digest = text.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    domain, slash, path = name.partition("/")
    if not slash or not ("." in domain or ":" in domain or domain == "localhost" or domain.lower() != domain):
        domain, path = DEFAULT_DOMAIN, name
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    if not re.fullmatch(_NAME, path) or (tag and not re.fullmatch(_TAG, tag)):
        return None
    return Reference(domain, path, tag, digest)


def tagged(image: str) -> str:
    """The image with a tag or digest; what has neither means :latest."""
    reference = parse(image)
    if reference is None:
        return image
    return (reference if reference.tag or reference.digest else reference._replace(tag="latest")).familiar


def bare(image: str) -> str:
    """The image without its digest, when a tag still tells which it is."""
    reference = parse(image)
    return reference._replace(digest="").familiar if reference and reference.tag and reference.digest else image


class Resolved(NamedTuple):
    """What a registry said of a tag."""

    image: str
    platforms: tuple[Mapping[str, str], ...]


def resolve(client: Client, image: str, auth: str | None) -> Resolved | None:
    """The image pinned to its digest, or None if the registry cannot be asked."""
    reference = parse(image)
    if reference is None:
        return None
    try:
        found = client.get(f"/distribution/{image}/json", headers={"X-Registry-Auth": auth} if auth else None)
    except CliError:
        return None
    digest = (found.get("Descriptor") or {}).get("digest", "")
    pinned = reference if reference.digest else reference._replace(digest=digest)
    platforms = tuple(
        {"Architecture": "" if one.get("architecture", "").lower() == "arm" else one.get("architecture", ""), "OS": one.get("os", "")}
        for one in found.get("Platforms") or ()
    )
    return Resolved(pinned.familiar, platforms)


def pin(client: Client, spec: dict[str, Any], auth: str | None, *, ask: bool) -> str | None:
    """Tag the spec's image, and pin it to a digest if `ask`; the warning to show if that failed."""
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec")
    if not container or not container.get("Image"):
        return None
    container["Image"] = tagged(container["Image"])
    if not ask:
        return None
    resolved = resolve(client, container["Image"], auth)
    if resolved is None:
        return unresolved(container["Image"])
    container["Image"] = resolved.image
    if resolved.platforms:
        spec["TaskTemplate"].setdefault("Placement", {})["Platforms"] = [dict(one) for one in resolved.platforms]
    return None


def unresolved(image: str) -> str:
    return (
        f"image {image} could not be looked up in a registry, so its digest is not recorded.\n"
        f"Each node fetches {image} on its own, and nodes may end up running different\nversions of it.\n"
    )
