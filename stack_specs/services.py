"""Read a service: from the mapping of a checked file to a `Service`, with its environment and its paths resolved."""

from collections.abc import Iterator, Mapping

import msgspec

from stack_specs import envfile, mounts, paths, ports, words
from stack_specs.deployment import read_deploy
from stack_specs.errors import Fault, KeyPath
from stack_specs.fields import Fields, as_pairs, as_text
from stack_specs.model import (
    BindOptions,
    Build,
    CredentialSpec,
    FileReference,
    HealthCheck,
    Logging,
    Mount,
    Service,
    ServiceNetwork,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from stack_specs.ports import Port
from stack_specs.surroundings import Surroundings
from stack_specs.values import Value


def read_service(name: str, written: Mapping[str, Value], around: Surroundings) -> Service:
    """The service of this name."""
    fields = Fields(written, ("services", name))
    return Service(
        name=name,
        build=_build(fields),
        cap_add=fields.texts("cap_add"),
        cap_drop=fields.texts("cap_drop"),
        cgroupns_mode=fields.text("cgroupns_mode"),
        cgroup_parent=fields.text("cgroup_parent"),
        command=_command(fields, "command"),
        configs=_references(fields, "configs"),
        container_name=fields.text("container_name"),
        credential_spec=_credential_spec(fields),
        depends_on=fields.texts("depends_on"),
        deploy=read_deploy(fields.child("deploy")),
        devices=fields.texts("devices"),
        dns=fields.texts("dns"),
        dns_search=fields.texts("dns_search"),
        domainname=fields.text("domainname"),
        entrypoint=_command(fields, "entrypoint"),
        environment=_environment(fields, around),
        env_file=fields.texts("env_file"),
        expose=fields.shown("expose"),
        external_links=fields.texts("external_links"),
        extra_hosts=_hosts(fields, "extra_hosts"),
        hostname=fields.text("hostname"),
        healthcheck=_healthcheck(fields.child("healthcheck")),
        image=fields.text("image"),
        init=fields.optional_flag("init"),
        ipc=fields.text("ipc"),
        isolation=fields.text("isolation"),
        labels=fields.labels("labels"),
        links=fields.texts("links"),
        logging=_logging(fields.child("logging")),
        mac_address=fields.text("mac_address"),
        network_mode=fields.text("network_mode"),
        networks=_networks(fields),
        pid=fields.text("pid"),
        ports=tuple(_ports(fields, around)),
        privileged=fields.flag("privileged"),
        read_only=fields.flag("read_only"),
        restart=fields.text("restart"),
        secrets=_references(fields, "secrets"),
        security_opt=fields.texts("security_opt"),
        shm_size=fields.text("shm_size"),
        stdin_open=fields.flag("stdin_open"),
        stop_grace_period=fields.optional_duration("stop_grace_period"),
        stop_signal=fields.text("stop_signal"),
        sysctls=fields.labels("sysctls"),
        tmpfs=fields.texts("tmpfs"),
        tty=fields.flag("tty"),
        ulimits=_ulimits(fields),
        user=fields.text("user"),
        userns_mode=fields.text("userns_mode"),
        volumes=tuple(_volumes(fields, around)),
        working_dir=fields.text("working_dir"),
        extras=fields.extras(),
    )


def _build(fields: Fields) -> Build:
    build = fields.child("build")
    if build is None:
        return Build(context=fields.text("build"))
    return Build(
        context=build.text("context"),
        dockerfile=build.text("dockerfile"),
        args=build.pairs("args"),
        labels=build.labels("labels"),
        cache_from=build.texts("cache_from"),
        extra_hosts=_hosts(build, "extra_hosts"),
        network=build.text("network"),
        target=build.text("target"),
    )


def _command(fields: Fields, key: str) -> tuple[str, ...]:
    if not isinstance(fields.raw(key), str):
        return fields.texts(key)
    return tuple(fields.parsed(key, words.split))


def _references(fields: Fields, key: str) -> tuple[FileReference, ...]:
    items = fields.raw(key)
    return tuple(_reference(item, (*fields.path, key, index)) for index, item in enumerate(items if isinstance(items, list) else ()))


def _reference(item: Value, path: KeyPath) -> FileReference:
    if not isinstance(item, dict):
        return FileReference(source=as_text(item, path))
    long = Fields(item, path)
    return FileReference(
        source=long.text("source"),
        target=long.text("target"),
        uid=long.text("uid"),
        gid=long.text("gid"),
        mode=long.optional_count("mode"),
    )


def _credential_spec(fields: Fields) -> CredentialSpec:
    spec = fields.child("credential_spec")
    if spec is None:
        return CredentialSpec()
    return CredentialSpec(config=spec.text("config"), file=spec.text("file"), registry=spec.text("registry"))


def _environment(fields: Fields, around: Surroundings) -> dict[str, str | None]:
    """The variables of the files and then of the service. One that is empty or has no value takes the client's own, if that has one."""
    from_files: dict[str, str | None] = {}
    for index, file in enumerate(fields.texts("env_file")):
        from_files |= _env_file(file, (*fields.path, "env_file", index), around)
    written = from_files | fields.pairs("environment")
    # Docker fills in the files' variables before the service's; a value of the service that is not empty wins over both.
    return {name: value or around.env.get(name, value) for name, value in written.items()}


def _env_file(file: str, path: KeyPath, around: Surroundings) -> dict[str, str]:
    location = paths.absolute(file, around.working_dir)
    try:
        return envfile.parse(around.read(location), around.env)
    except OSError as error:
        raise Fault(path, f"cannot read {location}: {error.strerror or error}", "create the file or correct the path") from error
    except ValueError as error:
        raise Fault(path, f"{location}: {error}", "correct the file") from error


def _hosts(fields: Fields, key: str) -> tuple[str, ...]:
    """host:address, in the order of the list, or sorted if they come as a mapping. What has no address is dropped, as docker does."""
    written = fields.raw(key)
    if isinstance(written, dict):
        return tuple(sorted(f"{host}:{address}" for host, address in as_pairs(written, fields.at(key)).items() if address is not None))
    hosts = (item.partition("=" if "=" in item else ":") for item in fields.texts(key))
    return tuple(f"{host}:{_without_brackets(address)}" for host, separator, address in hosts if separator)


def _without_brackets(address: str) -> str:
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def _healthcheck(fields: Fields | None) -> HealthCheck | None:
    if fields is None:
        return None
    test = fields.texts("test")
    return HealthCheck(
        test=("CMD-SHELL", *test) if isinstance(fields.raw("test"), str) else test,
        timeout=fields.optional_duration("timeout"),
        interval=fields.optional_duration("interval"),
        retries=fields.optional_count("retries"),
        start_period=fields.optional_duration("start_period"),
        start_interval=fields.optional_duration("start_interval"),
        disable=fields.flag("disable"),
    )


def _logging(fields: Fields | None) -> Logging | None:
    return None if fields is None else Logging(driver=fields.text("driver"), options=fields.options("options"))


def _networks(fields: Fields) -> dict[str, ServiceNetwork | None]:
    networks = fields.child("networks")
    if networks is None:
        return dict.fromkeys(fields.texts("networks"))
    return {name: _network(networks.child(name)) for name in networks}


def _network(fields: Fields | None) -> ServiceNetwork | None:
    if fields is None:
        return None
    return ServiceNetwork(
        aliases=fields.texts("aliases"),
        driver_opts=fields.options("driver_opts"),
        ipv4_address=fields.text("ipv4_address"),
        ipv6_address=fields.text("ipv6_address"),
    )


def _ports(fields: Fields, around: Surroundings) -> Iterator[Port]:
    items = fields.raw("ports")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield _long_port(Fields(item, (*fields.path, "ports", index)))
        elif isinstance(item, int | str):
            parsed = ports.parse(str(item))
            around.warnings.extend(parsed.warnings)
            yield from parsed.ports
        else:
            raise Fault((*fields.path, "ports", index), f"{item} is not a port", "write a whole number or a string like 8080:80")


def _long_port(fields: Fields) -> Port:
    for key in ("target", "published"):
        if fields.count(key) >= 2**32:
            raise fields.fault(key, f"{fields.count(key)} is not a valid port")
    return Port(
        mode=fields.text("mode"),
        target=fields.count("target"),
        published=fields.count("published"),
        protocol=fields.text("protocol"),
    )


def _ulimits(fields: Fields) -> dict[str, Ulimit]:
    limits = fields.child("ulimits")
    return {} if limits is None else {name: _ulimit(limits, name) for name in limits}


def _ulimit(limits: Fields, name: str) -> Ulimit:
    pair = limits.child(name)
    ends = [limits.raw(name)] if pair is None else [pair.raw("soft"), pair.raw("hard")]
    whole = [end for end in ends if isinstance(end, int) and not isinstance(end, bool)]
    if len(whole) != len(ends):
        raise limits.fault(name, "must be a whole number, or a soft and a hard one")
    return Ulimit(single=whole[0]) if pair is None else Ulimit(soft=whole[0], hard=whole[1])


def _volumes(fields: Fields, around: Surroundings) -> Iterator[Mount]:
    items = fields.raw("volumes")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        path = (*fields.path, "volumes", index)
        mount = _long_volume(Fields(item, path)) if isinstance(item, dict) else _short_volume(item, path)
        yield _resolved(mount, path, around) if mount.type == "bind" else mount


def _short_volume(item: Value, path: KeyPath) -> Mount:
    try:
        return mounts.parse(as_text(item, path))
    except ValueError as error:
        raise Fault(path, str(error), "write source:target or source:target:ro") from error


def _long_volume(fields: Fields) -> Mount:
    bind, volume, tmpfs = fields.child("bind"), fields.child("volume"), fields.child("tmpfs")
    return Mount(
        type=fields.text("type"),
        source=fields.text("source"),
        target=fields.text("target"),
        read_only=fields.flag("read_only"),
        consistency=fields.text("consistency"),
        bind=None if bind is None else BindOptions(propagation=bind.text("propagation")),
        volume=None if volume is None else VolumeOptions(nocopy=volume.flag("nocopy")),
        tmpfs=None if tmpfs is None else TmpfsOptions(size=tmpfs.integer("size")),
    )


def _resolved(mount: Mount, path: KeyPath, around: Surroundings) -> Mount:
    """A bind mount with an absolute source."""
    if not mount.source:
        raise Fault(path, "a bind mount needs a source", "add `source:`")
    source = mount.source
    if source.startswith("~"):
        if "HOME" in around.env:
            source = source.replace("~", around.env["HOME"], 1)
        else:
            around.warnings.append("cannot expand '~', because the environment lacks HOME")
    if not paths.is_absolute(source):
        source = paths.absolute(source, around.working_dir)
    return msgspec.structs.replace(mount, source=source)
