"""Names and labels: what Swarm lets things be called. Pure."""

import re

from cluster.api.errors import InvalidArgument
from cluster.api.specs import Labels

_DNS_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?\Z")
_FILE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-_.]*[a-zA-Z0-9])?\Z")

MOST_LABELS = 2000
"""Labels that one object may carry: every one of them is in memory on every manager."""


def check_name(name: str) -> None:
    """Of a service or network: it becomes a name in DNS."""
    if not name:
        raise InvalidArgument("name must be provided")
    if len(name) > 63:
        raise InvalidArgument(f"name must be 63 characters or fewer, {name!r} has {len(name)}")
    if not _DNS_NAME.match(name):
        raise InvalidArgument(f"name must be valid as a DNS name component: {name!r} may have letters, digits, - and _ only")


def check_file_name(name: str) -> None:
    """Of a secret or config."""
    if len(name) > 64 or not _FILE_NAME.match(name):
        raise InvalidArgument(
            f"invalid name {name!r}, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
        )


def check_labels(labels: Labels) -> None:
    if len(labels) > MOST_LABELS:
        raise InvalidArgument(f"{len(labels)} labels are too many: at most {MOST_LABELS} are kept")
    if "" in labels:
        raise InvalidArgument("a label needs a name")
