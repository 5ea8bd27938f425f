"""Secrets and configs in a service's body: first by name, then with the ids that the cluster gave them."""

import copy
from collections.abc import Mapping, Sequence

from stack_specs.errors import Fault, KeyPath
from stack_specs.model import FileObject, FileReference, Service, Stack
from stack_specs.names import scoped
from stack_specs.values import Json

_READABLE_BY_ALL = 0o444


def secret_references(service: Service, stack: Stack, stack_name: str, path: KeyPath) -> list[Json]:
    """The secrets of a service, sorted by name so that the order of the file restarts nothing."""
    return _references("secret", service.secrets, stack.secrets, stack_name, path)


def config_references(service: Service, stack: Stack, stack_name: str, path: KeyPath) -> list[Json]:
    """The configs of a service, that of its credential spec included: the container does not see that one as a file."""
    references = _references("config", service.configs, stack.configs, stack_name, path)
    key = service.credential_spec.config
    if key:
        name = _name(key, "config", stack.configs, stack_name, (*path, "credential_spec", "config"))
        references.append({"ConfigID": "", "ConfigName": name, "Runtime": {}})
    return sorted(references, key=_config_name)


def credential_spec(service: Service, stack: Stack, stack_name: str, path: KeyPath) -> Json:
    """Where a Windows container's account comes from; a config is named here and gets its id later."""
    spec = service.credential_spec
    sources = [f'"{kind}"' for kind, source in (("Config", spec.config), ("File", spec.file), ("Registry", spec.registry)) if source]
    if not sources:
        return None
    if len(sources) > 1:
        both = " and ".join(filter(None, (", ".join(sources[:-1]), sources[-1])))
        raise Fault((*path, "credential_spec"), f"invalid credential spec: cannot specify both {both}", "keep one of them")
    config = spec.config and _name(spec.config, "config", stack.configs, stack_name, (*path, "credential_spec", "config"))
    if config and config not in (spec.config, scoped(stack_name, spec.config)):
        problem = f"invalid credential spec: spec specifies config {spec.config}, but no such config can be found"
        raise Fault((*path, "credential_spec", "config"), problem, "a config with a `name:` of its own cannot be one, use its name as key")
    return {"Config": config, "File": spec.file, "Registry": spec.registry}


def with_ids(body: Mapping[str, Json], secret_ids: Mapping[str, str], config_ids: Mapping[str, str]) -> dict[str, Json]:
    """A copy of a service's body in which every secret and config has its id."""
    bound = copy.deepcopy(dict(body))
    container = _member(_member(bound, "TaskTemplate"), "ContainerSpec")
    for kind, ids in (("Secret", secret_ids), ("Config", config_ids)):
        references = container.get(f"{kind}s")
        for reference in references if isinstance(references, list) else ():
            if isinstance(reference, dict):
                reference[f"{kind}ID"] = _id(kind, str(reference[f"{kind}Name"]), ids)
    spec = _member(_member(container, "Privileges"), "CredentialSpec")
    if spec.get("Config"):
        spec["Config"] = _id("Config", str(spec["Config"]), config_ids)
    return bound


def _references(
    kind: str, references: Sequence[FileReference], declared: Mapping[str, FileObject], stack_name: str, path: KeyPath
) -> list[Json]:
    bodies: list[Json] = []
    targets: set[str] = set()
    for index, reference in enumerate(references):
        at = (*path, f"{kind}s", index)
        name = _name(reference.source, kind, declared, stack_name, at)
        target = reference.target or reference.source
        if target in targets:
            raise Fault(at, f"duplicate {kind} target for {name} not allowed", "give it a target of its own")
        targets.add(target)
        file: dict[str, Json] = {
            "Name": target,
            "UID": reference.uid or "0",
            "GID": reference.gid or "0",
            "Mode": _READABLE_BY_ALL if reference.mode is None else reference.mode,
        }
        bodies.append({"File": file, f"{kind.title()}ID": "", f"{kind.title()}Name": name})
    return sorted(bodies, key=_secret_name if kind == "secret" else _config_name)


def _name(key: str, kind: str, declared: Mapping[str, FileObject], stack_name: str, path: KeyPath) -> str:
    if key not in declared:
        raise Fault(path, f'undefined {kind} "{key}"', f"declare it under the top-level `{kind}s:`")
    return declared[key].name or scoped(stack_name, key)


def _secret_name(reference: Json) -> str:
    return str(reference["SecretName"]) if isinstance(reference, dict) else ""


def _config_name(reference: Json) -> str:
    return str(reference["ConfigName"]) if isinstance(reference, dict) else ""


def _member(body: dict[str, Json], name: str) -> dict[str, Json]:
    member = body.get(name)
    return member if isinstance(member, dict) else {}


def _id(kind: str, name: str, ids: Mapping[str, str]) -> str:
    if name not in ids:
        raise Fault((), f"{kind.lower()} not found: {name}", f"create it first: shoal {kind.lower()} create {name} FILE")
    return ids[name]
