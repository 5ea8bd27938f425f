"""Which versions of the Docker Engine API are spoken: by us, by the client, by the engine."""

import re
from typing import NamedTuple

from cluster.api.errors import InvalidArgument


class ApiVersion(NamedTuple):
    """An API version; compares as numbers do (1.9 < 1.24)."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> "ApiVersion":
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text)
        if match is None:
            raise InvalidArgument(f"invalid API version {text!r}: it is written as two numbers, such as {NEWEST}")
        return cls(int(match[1]), int(match[2]))


NEWEST = ApiVersion(1, 51)
OLDEST = ApiVersion(1, 24)

_PREFIX = re.compile(r"/v(\d[\d.]*)(?=/)")


def split_version(path: str) -> tuple[ApiVersion, str]:
    """The version that a request's path asks for and the path without it; a path without a version means the newest."""
    match = _PREFIX.match(path)
    if match is None:
        return NEWEST, path
    version = ApiVersion.parse(match[1])
    if version > NEWEST:
        raise InvalidArgument(f"client version {version} is too new. Maximum supported API version is {NEWEST}")
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )
    return version, path[match.end() :]


class EngineVersions(NamedTuple):
    """What the engine said of itself."""

    newest: ApiVersion
    oldest: ApiVersion
    release: str  # such as 20.10.24
    arch: str  # such as amd64
    builder: str  # the Builder-Version header of its ping
    experimental: str

    def spoken(self, client: ApiVersion) -> ApiVersion:
        """The version in which the engine is asked what a client asked in its own."""
        return max(min(client, self.newest), self.oldest)
