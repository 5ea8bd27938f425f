"""Read stack files: the first half of `stack deploy`, from paths to a checked and merged `Stack`.

A file is parsed (`document`), filled with the client's variables (`interpolate`), checked (`schema`, `grammar`), read into the model
(`services`, `objects`) and laid over the file before it (`merge`). What is then asked of the API is the business of `convert`.
"""

from collections.abc import Callable, Mapping, Sequence

from stack_specs import document, grammar, schema
from stack_specs.document import Document
from stack_specs.errors import Fault, StackError
from stack_specs.interpolate import interpolate
from stack_specs.merge import merge
from stack_specs.model import Stack
from stack_specs.objects import read_configs, read_networks, read_secrets, read_volumes
from stack_specs.services import read_service
from stack_specs.surroundings import Surroundings
from stack_specs.values import Value, show

_FORBIDDEN: Mapping[str, str] = {
    "extends": "Support for `extends` is not implemented yet.",
    "volume_driver": "Define a volume under the top-level `volumes` and specify the driver there.",
    "volumes_from": "Define a volume under the top-level `volumes` and use it in each service that shares it.",
    "cpu_quota": "Set resource limits using deploy.resources",
    "cpu_shares": "Set resource limits using deploy.resources",
    "cpuset": "Set resource limits using deploy.resources",
    "mem_limit": "Set resource limits using deploy.resources",
    "memswap_limit": "Set resource limits using deploy.resources",
}


def load(
    paths: Sequence[str],
    *,
    env: Mapping[str, str],
    read: Callable[[str], bytes],
    working_dir: str,
    variables: bool = True,
) -> Stack:
    """The stack that these files describe, each laid over the one before it.

    `read` gives the bytes of a file, and for the path "-" what came on standard input. `working_dir`, an absolute path, is the folder
    of the first file; what the files name is found from there. `variables` False leaves ${...} as it is.
    """
    if not paths:
        raise StackError(file=None, line=None, path=(), problem="no stack file was given", remedy="name one with --compose-file")
    documents = [document.parse(_shown(path), _source(path, read)) for path in paths]
    version = _version(documents[0])
    stack = _read(documents[0], version, env, read, working_dir, variables=variables)
    for later in documents[1:]:
        stack = merge(stack, _read(later, version, env, read, working_dir, variables=variables))
    return stack


def _shown(path: str) -> str:
    return "standard input" if path == "-" else path


def _source(path: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(path)
    except OSError as error:
        raise StackError(
            file=_shown(path), line=None, path=(), problem=f"cannot be read: {error.strerror or error}", remedy="check the path"
        ) from error


def _version(file: Document) -> int:
    """The minor number of the version that a file names: 8 for "3.8", the latest for none and for "3"."""
    written = file.content.get("version", "")
    text = show(written) if written is not None else "null"
    if text in ("", "3"):
        return grammar.LATEST
    major, _, minor = text.partition(".")
    if major != "3" or not minor.isdecimal() or str(int(minor)) != minor or int(minor) > grammar.LATEST:
        problem = f"unsupported Compose file version: {text}"
        raise file.error(Fault(("version",), problem, f'use "3.0" to "3.{grammar.LATEST}", or take the key out'))
    return int(minor)


def _read(
    file: Document,
    version: int,
    env: Mapping[str, str],
    read: Callable[[str], bytes],
    working_dir: str,
    *,
    variables: bool,
) -> Stack:
    """One file of the stack, by itself."""
    try:
        if _version(file) != version:
            raise Fault(("version",), f'is "3.{_version(file)}" here and "3.{version}" in the first file', "use one version in all files")
        _check_forbidden(file.content)
        around = Surroundings(env=env, working_dir=working_dir, read=read, warnings=[])
        content = interpolate(file.content, env, around.warnings) if variables else file.content
        schema.check(content, grammar.STACK, minor=version)
        return _stack(content, version, around, file)
    except Fault as fault:
        raise file.error(fault) from fault


def _stack(content: Mapping[str, Value], version: int, around: Surroundings, file: Document) -> Stack:
    services = tuple(
        read_service(name, written, around) for name, written in _section(content, "services").items() if isinstance(written, dict)
    )
    return Stack(
        version=f"3.{version}",
        services=services,
        networks=read_networks(_section(content, "networks"), version, around),
        volumes=read_volumes(_section(content, "volumes"), version, around),
        secrets=read_secrets(_section(content, "secrets"), version, around),
        configs=read_configs(_section(content, "configs"), version, around),
        extras={key: value for key, value in content.items() if key.startswith("x-")},
        documents=(file,),
        warnings=tuple(around.warnings),
    )


def _section(content: Mapping[str, Value], key: str) -> Mapping[str, Value]:
    section = content.get(key)
    return section if isinstance(section, dict) else {}


def _check_forbidden(content: Mapping[str, Value]) -> None:
    for name, written in _section(content, "services").items():
        for key in written if isinstance(written, dict) else ():
            if key in _FORBIDDEN:
                raise Fault(("services", name, key), "is not supported in a stack", _FORBIDDEN[key])
