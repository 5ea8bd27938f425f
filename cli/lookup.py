"""From the names that flags mention to the ids that specs hold, asked of the daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.client import Client
from cli.flags.grammar import Flags
from cli.service_spec import Names


def names(client: Client, flags: Flags, *, suffix: str = "") -> Names:
    """Everything that the flags of create, or with `-add` those of update, refer to."""
    networks = [one["Target"] for one in flags.many(f"network{suffix}")]
    networks += flags.many("network-rm")
    secrets = [one["SecretName"] for one in flags.many(f"secret{suffix}")]
    configs = [one["ConfigName"] for one in flags.many(f"config{suffix}")]
    if spec := flags.value("credential-spec"):
        configs += [spec["Config"]] if "Config" in spec else []
    return Names(
        networks={name: client.get(f"/networks/{name}")["Id"] for name in dict.fromkeys(networks)},
        secrets=ids(client, "/secrets", secrets),
        configs=ids(client, "/configs", configs),
    )


def ids(client: Client, path: str, wanted: Iterable[str]) -> dict[str, str]:
    """The ids of the secrets or configs of these names, those that exist."""
    names = list(dict.fromkeys(wanted))
    if not names:
        return {}
    return {one["Spec"]["Name"]: one["ID"] for one in client.list(path, {"name": names})}


def by_id(client: Client, path: str, name: str) -> Mapping[str, str]:
    """Names of a listing by id, for showing ids as names."""
    found: dict[str, str] = {}
    for one in client.list(path):
        found[one["ID"]] = _member(one, name)
    return found


def _member(one: Any, path: str) -> str:
    for member in path.split("."):
        one = (one or {}).get(member)
    return str(one or "")
