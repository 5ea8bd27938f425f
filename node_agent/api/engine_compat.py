"""What the API gained after 1.41, and what becomes of it on an engine that lacks it: THE one table.

An older engine ignores what it does not know, which drops it or gives it a wider meaning (`volumes/prune` would delete named volumes).
So each of these is rewritten into what the engine has, emulated by several calls, refused with 400, or it is harmless because ignoring
it means the same. A row applies when the client speaks its version and the engine does not yet; a client that speaks an older version
means what that version means. Engines older than 1.41 are not served.
"""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, assert_never

from cluster.api.errors import InvalidArgument
from node_agent.api import engine_changes as change
from node_agent.api import engine_emulations as emulate
from node_agent.api.engine_call import Call
from node_agent.api.engine_link import EngineLink
from node_agent.api.messages import EngineReply
from node_agent.api.versions import ApiVersion, EngineVersions


class Refuse(NamedTuple):
    """`thing` names what the engine cannot do, None where the call does not ask for it."""

    thing: Callable[[Call], str | None]


class Rewrite(NamedTuple):
    """The same in the engine's words."""

    change: Callable[[Call], Call]


class Emulate(NamedTuple):
    """The same by other calls: the answer, or the call to go on with. None where the call does not ask for it."""

    run: Callable[[Call, EngineLink], Awaitable[EngineReply | Call | None]]


class Harmless(NamedTuple):
    """The engine ignores it, and that means the same."""

    because: str


class Row(NamedTuple):
    """One thing that an older engine lacks."""

    what: str
    since: ApiVersion
    method: str
    path: str  # a regular expression
    how: Refuse | Rewrite | Emulate | Harmless


class Adapted(NamedTuple):
    """A call in the engine's words and what has yet to be run for it."""

    call: Call
    emulations: tuple[Emulate, ...]


def rows_for(table: tuple[Row, ...], *, method: str, path: str, client: ApiVersion, engine: EngineVersions) -> tuple[Row, ...]:
    """The rows that concern this request."""
    if engine.newest >= client:
        return ()
    return tuple(
        row for row in table if engine.newest < row.since <= client and row.method == method and re.fullmatch(row.path, path) is not None
    )


def adapt(call: Call, rows: tuple[Row, ...], engine: EngineVersions) -> Adapted:
    """Rewrite what can be rewritten; raises InvalidArgument for what must be refused."""
    emulations = []
    for row in rows:
        match row.how:
            case Refuse(thing=thing):
                if (asked := thing(call)) is not None:
                    raise InvalidArgument(
                        f"{asked} needs a container engine with API version {row.since} or newer; "
                        f"this node's engine {engine.release} has {engine.newest}"
                    )
            case Rewrite(change=change):
                call = change(call)
            case Emulate():
                emulations.append(row.how)
            case Harmless():
                pass
            case _:
                assert_never(row.how)
    return Adapted(call, tuple(emulations))


def _row(what: str, since: str, request: str, how: Refuse | Rewrite | Emulate | Harmless) -> Row:
    method, _, path = request.partition(" ")
    return Row(what, ApiVersion.parse(since), method, path, how)


_CREATE, _UPDATE, _EXEC = "POST /containers/create", "POST /containers/[^/]+/update", "POST /containers/[^/]+/exec"
_CONNECT, _NETWORK = "POST /networks/.+/connect", "POST /networks/create"
_ENDPOINT_SYSCTLS, _ENDPOINT_NAME = "com.docker.network.endpoint.sysctls", "com.docker.network.endpoint.ifname"

TABLE: tuple[Row, ...] = (
    # Containers
    _row("KernelMemory is ignored", "1.42", _CREATE, Rewrite(change.no_kernel_memory)),
    _row("KernelMemory is ignored", "1.42", _UPDATE, Rewrite(change.no_kernel_memory)),
    _row("a mount's options must be of its type", "1.42", _CREATE, Refuse(change.options_of_another_kind)),
    _row("BindOptions.CreateMountpoint", "1.42", _CREATE, Rewrite(change.made_mountpoints)),
    _row("ConsoleSize of a container", "1.42", "POST /containers/[^/]+/start", Emulate(emulate.console_of_container)),
    _row("ConsoleSize of an exec", "1.42", _EXEC, Harmless("the request that starts it carries the size again")),
    _row("ConsoleSize of an exec's start", "1.42", "POST /exec/[^/]+/start", Emulate(emulate.console_of_exec)),
    _row("the stream says whether it is multiplexed", "1.42", "GET /containers/[^/]+/logs", Emulate(emulate.named_stream)),
    _row("the stream says whether it is multiplexed", "1.42", "POST /containers/[^/]+/attach", Emulate(emulate.named_stream)),
    _row(
        "a choice of streams",
        "1.42",
        "GET /containers/[^/]+/attach/ws",
        Harmless("all are attached: clients ask for those that they care for"),
    ),
    _row("an unknown condition is refused", "1.42", "POST /containers/[^/]+/wait", Refuse(change.wait_condition)),
    _row("signal", "1.42", "POST /containers/[^/]+/stop", Emulate(emulate.stop_with_signal)),
    _row("signal", "1.42", "POST /containers/[^/]+/restart", Emulate(emulate.restart_with_signal)),
    _row("Annotations", "1.43", _CREATE, Refuse(change.annotations)),
    _row("ReadOnlyForceRecursive", "1.44", _CREATE, Refuse(change.in_mounts("BindOptions", "ReadOnlyForceRecursive"))),
    _row("ReadOnlyNonRecursive", "1.44", _CREATE, Rewrite(change.read_only_as_ever)),
    _row("read-only binds are so recursively", "1.44", _CREATE, Harmless("promised only as far as the kernel and runtime can")),
    _row("StartInterval", "1.44", _CREATE, Refuse(change.start_interval)),
    _row("MacAddress of several networks", "1.44", _CREATE, Refuse(change.hardware_addresses)),
    _row("MacAddress of a network", "1.44", _CREATE, Rewrite(change.hardware_address)),
    _row("VolumeOptions.Subpath", "1.45", _CREATE, Refuse(change.in_mounts("VolumeOptions", "Subpath"))),
    _row("TmpfsOptions.Options", "1.46", _CREATE, Refuse(change.in_mounts("TmpfsOptions", "Options"))),
    _row("sysctls of an endpoint", "1.46", _CREATE, Refuse(change.in_driver_options(_ENDPOINT_SYSCTLS))),
    _row("mounts of images", "1.48", _CREATE, Refuse(change.image_mount)),
    _row("GwPriority", "1.48", _CREATE, Refuse(change.in_endpoints("GwPriority"))),
    _row("the name of an endpoint's interface", "1.48", _CREATE, Refuse(change.in_driver_options(_ENDPOINT_NAME))),
    _row("several networks", "1.44", _CREATE, Emulate(emulate.several_networks)),
    # Networks
    _row("names are unique, CheckDuplicate or not", "1.44", _NETWORK, Rewrite(change.no_duplicate_networks)),
    _row("EnableIPv4", "1.48", _NETWORK, Refuse(change.no_ipv4)),
    _row("MacAddress", "1.44", _CONNECT, Refuse(change.in_endpoints("MacAddress"))),
    _row("sysctls of an endpoint", "1.46", _CONNECT, Refuse(change.in_driver_options(_ENDPOINT_SYSCTLS))),
    _row("GwPriority", "1.48", _CONNECT, Refuse(change.in_endpoints("GwPriority"))),
    _row("the name of an endpoint's interface", "1.48", _CONNECT, Refuse(change.in_driver_options(_ENDPOINT_NAME))),
    # Volumes
    _row("only anonymous volumes, unless all is asked for", "1.42", "POST /volumes/prune", Emulate(emulate.prune_anonymous_volumes)),
    _row("ClusterVolumeSpec", "1.42", "POST /volumes/create", Refuse(change.cluster_volume)),
    # Images
    _row("shared-size", "1.42", "GET /images/json", Emulate(emulate.shared_sizes)),
    _row("the architecture of an import", "1.42", "POST /images/create", Refuse(change.imported_architecture)),
    _row("platform of a push", "1.46", "POST /images/.+/push", Refuse(change.parameter("platform"))),
    _row("manifests of a list", "1.47", "GET /images/json", Harmless("an engine without containerd's image store has none to show")),
    _row("manifests of an image", "1.48", "GET /images/.+/json", Harmless("an engine without containerd's image store has none to show")),
    _row("platform of a history", "1.48", "GET /images/.+/history", Refuse(change.parameter("platform"))),
    _row("platform of a saved image", "1.48", "GET /images/.+/get", Refuse(change.parameter("platform"))),
    _row("platform of saved images", "1.48", "GET /images/get", Refuse(change.parameter("platform"))),
    _row("platform of a load", "1.48", "POST /images/load", Refuse(change.parameter("platform"))),
    _row("platform of an inspection", "1.49", "GET /images/.+/json", Refuse(change.parameter("platform"))),
    _row("platforms of a removal", "1.50", "DELETE /images/.+", Refuse(change.parameter("platforms"))),
    # System
    _row("type", "1.42", "GET /system/df", Emulate(emulate.disk_usage_of_types)),
    _row("reserved-space", "1.48", "POST /build/prune", Rewrite(change.kept_build_cache)),
    _row("max-used-space", "1.48", "POST /build/prune", Refuse(change.parameter("max-used-space"))),
    _row("min-free-space", "1.48", "POST /build/prune", Refuse(change.parameter("min-free-space"))),
)

# The requests whose JSON some row looks at. All others keep their bodies as they come, however long.
_WITH_JSON = re.compile(r"/containers/(create|[^/]+/(update|exec))|/exec/[^/]+/start|/networks/(create|.+/connect)|/volumes/create")


def reads_body(method: str, path: str) -> bool:
    """Whether a row may look at the JSON of such a request."""
    return method == "POST" and _WITH_JSON.fullmatch(path) is not None
