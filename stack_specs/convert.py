"""Turn a stack into API requests: the second half of `stack deploy`. Sends nothing; secrets and configs are read from files here.

Names are put under the stack's own: service `web` of stack `shop` is `shop_web`, unless the file gives a name. Bodies are what the
docker CLI sends, so they are plain JSON values; what docker sends as null or empty is left out.
"""

import base64
from collections.abc import Callable, Mapping

import msgspec

from stack_specs import ignored, images
from stack_specs.errors import Fault, StackError
from stack_specs.file_references import with_ids
from stack_specs.model import FileObject, Network, Stack
from stack_specs.names import NAMESPACE, is_user_defined, scoped
from stack_specs.render import dump
from stack_specs.service_body import service_body
from stack_specs.start_order import dependencies, in_order, in_swarm
from stack_specs.values import Json, Timestamp, Value

_QUOTES_AND_SPACES = "'\" \t\r\n\v\f\x85\xa0"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An object to create, or to update if there is one of this name."""

    name: str
    body: dict[str, Json]


class NetworkRequest(Request, frozen=True, kw_only=True):
    """A network to create; one that exists is left alone."""


class SecretRequest(Request, frozen=True, kw_only=True):
    """A secret, its data in the body as base64."""


class ConfigRequest(Request, frozen=True, kw_only=True):
    """A config, its data in the body as base64."""


class ServiceRequest(Request, frozen=True, kw_only=True):
    """A service. Its secrets and configs are named in the body, and get their ids from `bind_ids`."""

    stack_name: str
    """What the stack file calls it."""
    image: str
    """The image as the file has it; the label com.docker.stack.image of an existing service is compared with it."""
    extensions: Mapping[str, Json]
    """The service's x-shoal mapping, what it depends on under the names that those services have in the swarm, and the addresses of
    its published ports."""
    file: str
    line: int | None
    """Where the stack file describes it."""


class StackRequests(msgspec.Struct, frozen=True, kw_only=True):
    """All that a stack asks of the API, in the order in which to ask."""

    external_networks: tuple[str, ...]
    """Networks that must exist before, with scope swarm."""
    networks: tuple[NetworkRequest, ...]
    secrets: tuple[SecretRequest, ...]
    configs: tuple[ConfigRequest, ...]
    services: tuple[ServiceRequest, ...]
    warnings: tuple[str, ...]


def plan(
    stack: Stack,
    *,
    name: str,
    env: Mapping[str, str],  # noqa: ARG001 - variables were put in when the files were loaded; kept beside `read` as `load` has them
    read: Callable[[str], bytes],
) -> StackRequests:
    """The requests that deploy `stack` under this name. `read` gives the bytes of the secrets' and configs' files."""
    if not name.strip(_QUOTES_AND_SPACES):
        raise StackError(file=None, line=None, path=(), problem=f"invalid stack name: {name!r}", remedy="give the stack a name")
    try:
        _check_images(stack)
        used = _networks_in_use(stack)
        waits = dependencies(stack)
        made = {service.name: _service(stack, name, index, waits[service.name]) for index, service in enumerate(stack.services)}
        services = tuple(made[key] for key in in_order(waits))
        return StackRequests(
            external_networks=tuple(sorted(set(_external(stack, used)))),
            networks=tuple(_network(stack.networks.get(key, Network()), key, name) for key in used if not _is_external(stack, key)),
            secrets=tuple(_secret(key, secret, name, read) for key, secret in stack.secrets.items() if not secret.external.external),
            configs=tuple(_config(key, config, name, read) for key, config in stack.configs.items() if not config.external.external),
            services=services,
            warnings=ignored.warnings(stack),
        )
    except Fault as fault:
        raise stack.error(fault) from fault


def bind_ids(service: ServiceRequest, secret_ids: Mapping[str, str], config_ids: Mapping[str, str]) -> dict[str, Json]:
    """The body to send for a service, given the ids of the cluster's secrets and configs by name."""
    try:
        return with_ids(service.body, secret_ids, config_ids)
    except Fault as fault:
        raise StackError(
            file=service.file, line=service.line, path=("services", service.stack_name), problem=fault.problem, remedy=fault.remedy
        ) from fault


def render_config(stack: Stack) -> str:
    """The stack as one YAML file, merged and with every short syntax written out: what `stack config` prints."""
    return dump(stack)


def _check_images(stack: Stack) -> None:
    for service in stack.services:
        path = ("services", service.name, "image")
        if not service.image:
            remedy = "a stack is not built: build the image, push it, and name it here" if service.build.context else "add `image:`"
            raise Fault(path, f"invalid image reference for service {service.name}: no image specified", remedy)
        try:
            images.check(service.image)
        except ValueError as error:
            raise Fault(path, f"invalid image reference for service {service.name}: {error}", "correct the image") from error


def _networks_in_use(stack: Stack) -> list[str]:
    """The stack's names of the networks that its services are on; a service that names none is on `default`."""
    used: dict[str, None] = {}
    for service in stack.services:
        used |= dict.fromkeys(service.networks or ("default",))
    return list(used)


def _is_external(stack: Stack, key: str) -> bool:
    return key in stack.networks and stack.networks[key].external.external


def _external(stack: Stack, used: list[str]) -> list[str]:
    names = [stack.networks[key].name for key in used if _is_external(stack, key)]
    return [name for name in names if is_user_defined(name)]


def _labels(stack_name: str, labels: Mapping[str, str]) -> dict[str, Json]:
    return {**labels, NAMESPACE: stack_name}


def _network(network: Network, key: str, stack_name: str) -> NetworkRequest:
    name = network.name or scoped(stack_name, key)
    body: dict[str, Json] = {
        "Name": name,
        "Driver": network.driver or "overlay",
        "Scope": "",
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigOnly": False,
        "Labels": _labels(stack_name, network.labels),
    }
    if network.driver_opts:
        body["Options"] = dict(network.driver_opts)
    if network.ipam.driver or network.ipam.config:
        body["IPAM"] = {
            "Driver": network.ipam.driver,
            "Config": [{"Subnet": pool.subnet} if pool.subnet else {} for pool in network.ipam.config],
        }
    return NetworkRequest(name=name, body=body)


def _secret(key: str, secret: FileObject, stack_name: str, read: Callable[[str], bytes]) -> SecretRequest:
    name = secret.name or scoped(stack_name, key)
    body = _file_body(secret, name, stack_name)
    if secret.driver:
        body["Driver"] = {"Name": secret.driver, "Options": dict(secret.driver_opts or {})}
    else:
        body["Data"] = _data(("secrets", key), secret, read)
    return SecretRequest(name=name, body=body)


def _config(key: str, config: FileObject, stack_name: str, read: Callable[[str], bytes]) -> ConfigRequest:
    name = config.name or scoped(stack_name, key)
    body = _file_body(config, name, stack_name)
    body["Data"] = _data(("configs", key), config, read)
    return ConfigRequest(name=name, body=body)


def _file_body(item: FileObject, name: str, stack_name: str) -> dict[str, Json]:
    body: dict[str, Json] = {"Name": name, "Labels": _labels(stack_name, item.labels)}
    if item.template_driver:
        body["Templating"] = {"Name": item.template_driver}
    return body


def _data(path: tuple[str, str], item: FileObject, read: Callable[[str], bytes]) -> str:
    try:
        return base64.b64encode(read(item.file)).decode()
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = (
            "name a file with `file:`, or mark it external"
            if isinstance(error, IsADirectoryError)
            else "create the file or correct the path"
        )
        raise Fault((*path, "file"), f"cannot read {item.file}: {reason}", remedy) from error


def _service(stack: Stack, stack_name: str, index: int, waits: Mapping[str, str]) -> ServiceRequest:
    service = stack.services[index]
    body = service_body(stack, service, stack_name)
    written = service.extras.get("x-shoal")
    extensions = {key: _json(value) for key, value in written.items()} if isinstance(written, dict) else {}
    extensions.pop("depends_on", None)
    if waits:
        extensions["depends_on"] = {in_swarm(key, stack_name, stack): {"condition": condition} for key, condition in waits.items()}
    if addresses := {f"{port.published}/{port.protocol}": port.address for port in service.ports if port.address}:
        extensions["publish_on"] = {**addresses, **_mapping(extensions.get("publish_on"))}
    place = stack.error(Fault(("services", service.name), ""))
    return ServiceRequest(
        name=scoped(stack_name, service.name),
        body=body,
        stack_name=service.name,
        image=service.image,
        extensions=extensions,
        file=place.file or "",
        line=place.line,
    )


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _json(value: Value) -> Json:
    match value:
        case Timestamp():
            return value.rfc3339
        case list():
            return [_json(item) for item in value]
        case dict():
            return {key: _json(member) for key, member in value.items()}
        case _:
            return value
