"""Whole stacks become exactly the requests that docker made of them.

Each folder of `corpus` holds a stack, the files that it names, perhaps an override and an environment, and in `expected.json` what
docker 28.2.2 asked of its API, with /srv for the folder, `shop` for the stack and id-of-NAME for the ids of secrets and configs.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from stack_specs.convert import bind_ids, plan
from stack_specs.loader import load
from stack_specs.values import Json
from tests.unit.stack_specs.stack_files import FOLDER, reader

CORPUS = Path(__file__).parent / "corpus"
FREE = ("Labels", "Options", "DriverOpts", "Sysctls")
MODES = ("Replicated", "Global", "ReplicatedJob", "GlobalJob")


class IdsByName(defaultdict[str, str]):
    """An id for every name."""

    def __missing__(self, name: str) -> str:
        return f"id-of-{name}"

    def __contains__(self, name: object) -> bool:
        return True


def without_empty(value: Json, *, keep: bool = False) -> Json:
    """The value without members that are null or empty: Docker's client sends some of them, and no engine can tell."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {name: without_empty(member, keep=name in FREE) for name, member in value.items()}
    return {name: member for name, member in members.items() if keep or name in MODES or member not in (None, "", [], {})}


def sorted_references(body: Json) -> Json:
    """The body with its secrets and configs in one order: docker's varies when one of them is used twice."""
    match body:
        case {"TaskTemplate": {"ContainerSpec": dict(container)}}:
            for kind in ("Secrets", "Configs"):
                references = container.get(kind)
                if isinstance(references, list):
                    references.sort(key=lambda reference: json.dumps(reference, sort_keys=True))
    return body


@pytest.mark.parametrize("folder", sorted(CORPUS.iterdir()), ids=lambda folder: folder.name)
def test_a_stack_becomes_docker_s_requests(folder: Path) -> None:
    files: dict[str, bytes | str] = {file.name: file.read_bytes() for file in folder.iterdir()}
    lines = (folder / "env").read_text().splitlines() if (folder / "env").exists() else []
    env = dict(line.split("=", 1) for line in lines)
    paths = [f"{FOLDER}/{name}" for name in ("stack.yml", "override.yml") if name in files]

    stack = load(paths, env=env, read=reader(files), working_dir=FOLDER)
    requests = plan(stack, name="shop", env=env, read=reader(files))

    made: list[tuple[str, dict[str, Json]]] = [("/networks/create", request.body) for request in requests.networks]
    made += [("/secrets/create", request.body) for request in requests.secrets]
    made += [("/configs/create", request.body) for request in requests.configs]
    made += [("/services/create", bind_ids(request, IdsByName(), IdsByName())) for request in requests.services]
    found = [
        {"path": path, "body": sorted_references(without_empty(body))}
        for path, body in sorted(made, key=lambda one: (one[0], str(one[1]["Name"])))
    ]
    expected = [
        {"path": one["path"], "body": sorted_references(without_empty(one["body"]))}
        for one in json.loads((folder / "expected.json").read_text())
    ]
    assert found == expected
