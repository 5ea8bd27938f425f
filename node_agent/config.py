"""The daemon's configuration: dockerd's flags and keys, one frozen value. Pure: files are read by main.py.

A key in daemon.json and the flag of the same name must not both be given, as with dockerd.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from cluster.api.errors import InvalidArgument
from cluster.api.features import FIRST_LEVEL, LEVEL

DEFAULT_CONFIG_FILE = "/etc/shoal/daemon.json"
DEFAULT_SOCKET = "unix:///run/shoal/shoal.sock"


class Config(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Every setting of `shoald`; the wire names are the keys of daemon.json, the flags are the same with `--`."""

    hosts: tuple[str, ...] = (DEFAULT_SOCKET,)
    data_root: str = "/var/lib/shoal"
    exec_root: str = "/run/shoal"
    pidfile: str = "/run/shoal/shoald.pid"
    group: str = "docker"
    debug: bool = False
    log_level: str = "info"
    log_format: str = "text"
    labels: tuple[str, ...] = ()
    node_generic_resources: tuple[str, ...] = ()
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    engine: str = "auto"
    """`auto`, `dockerd` (start our own), `podman`, or a unix:// address."""
    engine_root: str = ""
    """An engine that we start has its data in ENGINE_ROOT/engine; empty: in DATA_ROOT/engine."""
    engine_options: Mapping[str, object] = {}
    """For an engine that we start: keys of dockerd's own daemon.json; they win over /etc/docker/daemon.json."""
    socket_rewrite: bool = True
    metrics_addr: str = ""
    """host:port for /metrics; empty: on the unix socket only."""
    hostname: str = ""
    swarm_default_advertise_addr: str = ""
    """What init and join advertise unless they are told: an address or an interface."""
    shutdown_timeout: int = 15
    """Seconds that stopping may take; whatever hangs then is cut off."""
    data_key_rotation: int = 43200
    """Seconds between two keys of encrypted networks, while this node leads."""
    feature_level: int = LEVEL
    """Behave as a build of that level: to rehearse an upgrade."""

    @property
    def data(self) -> Path:
        return Path(self.data_root)

    @property
    def runtime(self) -> Path:
        return Path(self.exec_root)

    @property
    def label_map(self) -> Mapping[str, str]:
        return {name: value for name, _, value in (label.partition("=") for label in self.labels)}


_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")
RELOADABLE = frozenset({"labels", "debug", "log-level"})
"""What SIGHUP applies; the rest needs a restart."""


def names() -> frozenset[str]:
    return frozenset(known.encode_name for known in msgspec.structs.fields(Config))


def merge(file: bytes, flags: Mapping[str, object], *, path: str = DEFAULT_CONFIG_FILE) -> Config:
    """The configuration of a file's bytes (JSON; may be empty) and the flags given. Raises InvalidArgument with what to change."""
    try:
        keys = msgspec.json.decode(file, type=dict[str, object]) if file.strip() else {}
    except msgspec.MsgspecError as wrong:
        raise InvalidArgument(f"unable to configure the daemon with file {path}: it is not a JSON object: {wrong}") from wrong
    if unknown := sorted(set(keys) - names()):
        known = ", ".join(sorted(names()))
        raise InvalidArgument(
            f"unable to configure the daemon with file {path}: unknown key {unknown[0]!r}; the keys are {known}; "
            "dockerd's own go into engine-options"
        )
    if both := sorted(set(keys) & set(flags)):
        raise InvalidArgument(
            f"unable to configure the daemon with file {path}: {both[0]!r} is given both as a flag and in the file; remove one of them"
        )
    try:
        config = msgspec.convert({**keys, **flags}, type=Config)
    except msgspec.ValidationError as wrong:
        raise InvalidArgument(f"unable to configure the daemon with file {path}: {wrong}") from wrong
    check(config)
    return config


def check(config: Config) -> None:
    """Raises InvalidArgument for values that cannot work together."""
    if config.log_level not in _LEVELS:
        raise InvalidArgument(f"log level {config.log_level!r} is unknown: use one of {', '.join(_LEVELS)}")
    if config.log_format not in {"text", "json"}:
        raise InvalidArgument(f"log format {config.log_format!r} is unknown: use text or json")
    for label in config.labels:
        if "=" not in label or not label.partition("=")[0]:
            raise InvalidArgument(f"bad attribute format: {label}: a label reads name=value")
    if not config.hosts:
        raise InvalidArgument("no address to listen on: give at least one -H, such as unix:///run/shoal/shoal.sock")
    for host in config.hosts:
        _check_host(host, config)
    _check_metrics_addr(config.metrics_addr)
    _check_numbers(config)
    if not config.data_root.startswith("/") or not config.exec_root.startswith("/"):
        raise InvalidArgument("--data-root and --exec-root must be absolute paths")


def _check_metrics_addr(address: str) -> None:
    name, _, port = address.rpartition(":")
    if address and (not name or not _is_port(port)):
        raise InvalidArgument(f"bad metrics address {address!r}: write host:port, such as 127.0.0.1:9323")


def _check_numbers(config: Config) -> None:
    for what, seconds in (("shutdown timeout", config.shutdown_timeout), ("data key rotation", config.data_key_rotation)):
        if seconds < 1:
            raise InvalidArgument(f"{what} {seconds} is too short: give it at least 1 second")
    if not FIRST_LEVEL <= config.feature_level <= LEVEL:
        raise InvalidArgument(f"feature level {config.feature_level} is unknown: this version knows {FIRST_LEVEL} to {LEVEL}")


def _check_host(host: str, config: Config) -> None:
    scheme, separator, rest = host.partition("://")
    if not separator or scheme not in {"unix", "tcp"} or not rest:
        raise InvalidArgument(f"bad listen address {host!r}: use unix:///path or tcp://address:port")
    if scheme == "tcp":
        _, _, port = rest.rpartition(":")
        if not _is_port(port):
            raise InvalidArgument(f"bad listen address {host!r}: a tcp address needs a port, such as tcp://10.0.0.1:2376")
        if not config.tlsverify and not rest.startswith(("127.", "[::1]", "localhost")):
            raise InvalidArgument(
                f"refusing to listen on {host} without client certificates: whoever can connect is root here. "
                "Add --tlsverify with --tlscacert, --tlscert and --tlskey"
            )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


class HostAddress(Struct, frozen=True):
    """Where to listen, taken apart."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0


def parse_host(host: str) -> HostAddress:
    scheme, _, rest = host.partition("://")
    if scheme == "unix":
        return HostAddress(scheme, path=rest)
    name, _, port = rest.rpartition(":")
    return HostAddress(scheme, host=name.strip("[]"), port=int(port))


def from_flags(given: Mapping[str, object], repeated: Sequence[str]) -> Mapping[str, object]:
    """Flags as keys of daemon.json: those left out (None, empty) are dropped, repeated ones become lists."""
    present = {name: value for name, value in given.items() if value not in (None, (), "")}
    return {name: list(value) if name in repeated and isinstance(value, tuple) else value for name, value in present.items()}


def engine_options(given: Sequence[str]) -> Mapping[str, object]:
    """`KEY=VALUE` flags as keys of dockerd's daemon.json: a value that is JSON is taken as such. Raises InvalidArgument."""
    options: dict[str, object] = {}
    for option in given:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise InvalidArgument(f"bad engine option {option!r}: write KEY=VALUE, such as storage-driver=overlay2")
        try:
            options[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            options[key] = value
    return options
