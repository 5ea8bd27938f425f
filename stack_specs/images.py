"""Image references: whether one is well formed, and how the engine wants it written (alpine -> alpine:latest)."""

import re

_ID = re.compile(r"[a-f0-9]{64}")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?"
)
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HUB = "docker.io"
_LONGEST = 255


def check(image: str) -> None:
    """Raise ValueError if the engine could not read this reference."""
    if not _ID.fullmatch(image) and not _is_digest(image):
        _parse(image)


def tagged(image: str) -> str:
    """The reference with the tag that is meant and without the registry that is meant anyway; ids and digests stay as they are."""
    if _ID.fullmatch(image):
        return image
    domain, path, tag, digest = _parse(image)
    name = path.removeprefix("library/") if domain == _HUB and path.count("/") == 1 else path
    familiar = name if domain == _HUB else f"{domain}/{path}"
    if not digest:
        return f"{familiar}:{tag or 'latest'}"
    return f"{familiar}{':' + tag if tag else ''}@{digest}"


def _parse(image: str) -> tuple[str, str, str, str]:
    if _ID.fullmatch(image):
        raise ValueError(f"{image!r} is an image id; a name is needed here")
    domain, rest = _split_domain(image)
    path = rest.partition(":")[0]
    if path != path.lower():
        raise ValueError(f"repository name ({path}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None:
        raise ValueError(f"{image!r} is not an image reference such as registry/name:tag")
    if len(found["path"]) > _LONGEST:
        raise ValueError(f"the repository name is longer than {_LONGEST} characters")
    if found["digest"] and not _is_digest(found["digest"]):
        raise ValueError(f"{found['digest']!r} is not a digest")
    return found["domain"], found["path"], found["tag"] or "", found["digest"] or ""


def _split_domain(image: str) -> tuple[str, str]:
    first, slash, rest = image.partition("/")
    if not slash or not (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        domain, rest = _HUB, image
    else:
        domain = _HUB if first == "index.docker.io" else first
    if domain == _HUB and "/" not in rest:
        rest = f"library/{rest}"
    return domain, rest


def _is_digest(text: str) -> bool:
    algorithm, _, digits = text.partition(":")
    return len(digits) == _DIGEST_LENGTHS.get(algorithm) and all(digit in "0123456789abcdef" for digit in digits)
