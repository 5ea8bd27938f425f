"""The promise: `service create` and `service update` post what the stock docker CLI posts for the same words, and refuse what it refuses.

The tables under data/ hold lines of commands and the specs that docker CLI 28 made of them; integration/cli_recorder.py writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import images, service_spec, service_update
from cli.command import Verb
from cli.commands.service_create import create, read_file
from cli.commands.service_update import update
from cli.errors import CliError
from cli.flags.grammar import read
from cli.service_spec import Names

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[3]
NETWORKS = {"front": "netfront000000000000000000", "back": "netback0000000000000000000"}
SECRETS = {"s1": "secret1aaaaaaaaaaaaaaaaaa", "s2": "secret2aaaaaaaaaaaaaaaaaa"}
CONFIGS = {"c1": "config1aaaaaaaaaaaaaaaaaa", "c2": "config2aaaaaaaaaaaaaaaaaa", "cred": "configcredaaaaaaaaaaaaaa"}
ENV = {"FROM_ENV": "yes"}


class Known(dict[str, str]):
    """The networks that exist; another is refused as the daemon refuses it."""

    def __missing__(self, key: str) -> str:
        raise CliError(f"network {key} not found")


NAMES = Names(networks=Known(NETWORKS), secrets=SECRETS, configs=CONFIGS)


def table(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text())  # type: ignore[no-any-return]


def rows(name: str) -> list[Any]:
    return [pytest.param(row, id=" ".join(row["line"])[:80]) for row in table(name)["rows"]]


def clean(value: Any, *, keep: bool = False) -> Any:
    if isinstance(value, dict):
        cleaned = {key: clean(item, keep=key in {"Labels", "Options", "DriverOpts", "Sysctls", "Mode"}) for key, item in value.items()}
        empty = {"TTY": False, "ReadOnly": False, "TargetPort": 0}  # what Go leaves out
        kept = {key: item for key, item in cleaned.items() if key not in empty or item != empty[key]}
        return {key: item for key, item in kept.items() if keep or item not in (None, "", [], {})}
    return [clean(item) for item in value] if isinstance(value, list) else value


def in_any_order(spec: Any) -> Any:
    """Docker's CLI puts these out in the order of a Go map, which differs from run to run; mounts it re-sorts even when none changed."""
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    lists = [
        (container, "Secrets"),
        (container, "Configs"),
        (container, "Env"),
        (container, "Mounts"),
        (spec.get("EndpointSpec") or {}, "Ports"),
    ]
    for owner, member in lists:
        if isinstance(owner.get(member), list):
            owner[member] = sorted(owner[member], key=lambda one: json.dumps(one, sort_keys=True))
    return spec


def flags_of(verb: Verb, line: list[str], *, interspersed: bool) -> Any:
    return read(line, verb.flags, interspersed=interspersed)


@pytest.fixture(autouse=True)
def _where_the_tables_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("row", rows("service_create"))
def test_create_posts_what_docker_posts(row: dict[str, Any]) -> None:
    def made() -> Any:
        words = flags_of(create, row["line"], interspersed=False)
        image, *args = words.args
        spec = service_spec.create(words.flags, image, args, names=NAMES, read=read_file, env=ENV)
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = images.tagged(image)
        return spec

    check(row, made)


@pytest.mark.parametrize("row", rows("service_update"))
def test_update_posts_what_docker_posts(row: dict[str, Any]) -> None:
    base = table("service_update")["bases"][row["base"]]

    def made() -> Any:
        words = flags_of(update, row["line"], interspersed=True)
        if words.flags.on("rollback"):
            raise CliError("other flags may not be combined with --rollback")
        spec = service_update.update(base, words.flags, names=NAMES)
        if "image" in words.flags:
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = images.tagged(words.flags.text("image"))
        return spec

    check(row, made)


def check(row: dict[str, Any], made: Any) -> None:
    if "refused" in row:
        with pytest.raises(CliError) as refused:
            made()
        assert refused.value.code == row["code"]
    else:
        assert in_any_order(clean(made())) == in_any_order(row["spec"])
