"""What an older engine lacks, done by several of the calls that it has; see the table in `engine_compat`.

Each takes the call and gives the answer, or a call to go on with, or None where it does not ask for the new thing.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec

from cluster.api.errors import InvalidArgument
from node_agent.api.engine_call import Call
from node_agent.api.engine_link import EngineLink, segment
from node_agent.api.filters import Filters
from node_agent.api.hijack import MULTIPLEXED_STREAM, RAW_STREAM
from node_agent.api.http import Headers
from node_agent.api.messages import EngineReply

DEFAULT_STOP_TIMEOUT = 10
# What the engine calls a volume that nobody named: engines of this age do not label them yet.
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_JSON = Headers([("Content-Type", "application/json")])


def _reply(value: object, *, status: int = 200) -> EngineReply:
    return EngineReply(status=status, headers=_JSON, body=msgspec.json.encode(value) + b"\n")


def _bare(status: int) -> EngineReply:
    return EngineReply(status=status, headers=Headers(), body=b"")


def _container_of(call: Call) -> str:
    return call.path.rpartition("/")[0]


async def several_networks(call: Call, engine: EngineLink) -> EngineReply | None:
    """Create on the first network, connect the others; if one cannot be had, neither can the container."""
    endpoints = call.endpoints
    if len(endpoints) < 2:
        return None
    mode = call.host_config.get("NetworkMode", "")
    first = mode if mode in endpoints else next(iter(endpoints))
    created = await engine.call(
        "POST", call.path, query=call.query.text, json=call.having(NetworkingConfig={"EndpointsConfig": {first: endpoints[first]}}).json
    )
    if not created.ok:
        return created
    container = created.json()["Id"]
    for network in endpoints:
        if network == first:
            continue
        connect = {"Container": container, "EndpointConfig": endpoints[network]}
        connected = await engine.call("POST", f"/networks/{segment(network)}/connect", json=connect)
        if not connected.ok:
            await engine.call("DELETE", f"/containers/{container}", query="force=1&v=1")
            return connected
    return created


async def stop_with_signal(call: Call, engine: EngineLink) -> EngineReply | None:
    """The signal, the time to heed it, then what a stop without patience does."""
    if not call.query.get("signal"):
        return None
    refused = await _signal_and_wait(call, engine)
    if refused is not None:
        return refused
    stopped = await engine.call("POST", call.path, query="t=0")
    return _bare(204) if stopped.status == 304 else stopped


async def restart_with_signal(call: Call, engine: EngineLink) -> EngineReply | None:
    """The same before a restart."""
    if not call.query.get("signal"):
        return None
    inspected = await engine.call("GET", f"{_container_of(call)}/json")
    if inspected.ok and inspected.json()["HostConfig"]["AutoRemove"]:
        raise InvalidArgument(
            "a restart with a signal of a container that is removed when it stops needs an engine with API version 1.42 or newer"
        )
    refused = await _signal_and_wait(call, engine)
    if refused is not None and refused.status != 304:
        return refused
    return await engine.call("POST", call.path, query="t=0")


async def _signal_and_wait(call: Call, engine: EngineLink) -> EngineReply | None:
    """None once the container has stopped or its time is over; else why it was not signalled."""
    container = _container_of(call)
    inspected = await engine.call("GET", f"{container}/json")
    if not inspected.ok:
        return inspected
    shown = inspected.json()
    if not shown["State"]["Running"]:
        return _bare(304)
    killed = await engine.call("POST", f"{container}/kill", query=urlencode({"signal": call.query.get("signal")}))
    if not killed.ok:
        return _bare(304) if killed.status == 409 else killed
    configured = shown["Config"].get("StopTimeout")
    seconds = call.query.number("t", DEFAULT_STOP_TIMEOUT if configured is None else configured)
    try:
        async with asyncio.timeout(seconds if seconds >= 0 else None):
            await engine.call("POST", f"{container}/wait", query="condition=not-running")
    except TimeoutError:
        return None
    return None


async def console_of_container(call: Call, engine: EngineLink) -> Call | None:
    """Engines keep the size they do not use: apply it once the container runs."""
    container = _container_of(call)
    inspected = await engine.call("GET", f"{container}/json")
    if not inspected.ok or not inspected.json()["Config"]["Tty"]:
        return None
    return _resized(call, inspected.json()["HostConfig"].get("ConsoleSize"), f"{container}/resize")


async def console_of_exec(call: Call, _: EngineLink) -> Call | None:
    """The size is applied once the process runs, and the stream is named after what it carries."""
    call = replace(call, media_type=RAW_STREAM if call.json.get("Tty") else MULTIPLEXED_STREAM)
    return _resized(call, call.json.get("ConsoleSize"), f"{_container_of(call)}/resize") or call


def _resized(call: Call, size: Any, path: str) -> Call | None:
    if not isinstance(size, list) or len(size) != 2 or not all(size):
        return None
    query = urlencode({"h": size[0], "w": size[1]})

    async def resize(engine: EngineLink) -> None:
        for _ in range(5):  # the process may need a moment to be there
            if (await engine.call("POST", path, query=query)).ok:
                return
            await asyncio.sleep(0.02)

    return replace(call, then=resize)


async def named_stream(call: Call, engine: EngineLink) -> Call | None:
    """Ask whether the container has a terminal, which is what decides."""
    inspected = await engine.call("GET", f"{_container_of(call)}/json")
    if not inspected.ok:
        return None
    return replace(call, media_type=RAW_STREAM if inspected.json()["Config"]["Tty"] else MULTIPLEXED_STREAM)


async def prune_anonymous_volumes(call: Call, engine: EngineLink) -> EngineReply | Call:
    """Only what nobody named; with `all`, what the engine does by itself."""
    filters = Filters.parse(call.query.get("filters"), allowed={"all", "label", "label!"})
    rest = filters.without("all")
    if filters.flag("all", default=False):
        return call.asking(filters=rest.encode())
    listed = await engine.call("GET", "/volumes", query=urlencode({"filters": '{"dangling":{"true":true}}'}))
    if not listed.ok:
        return listed
    unused = [volume for volume in listed.json()["Volumes"] or () if _is_anonymous(volume) and _is_asked_for(volume, rest)]
    sizes = await _volume_sizes(engine) if unused else {}
    deleted = [volume["Name"] for volume in unused if (await engine.call("DELETE", f"/volumes/{segment(volume['Name'])}")).ok]
    return _reply({"VolumesDeleted": deleted, "SpaceReclaimed": sum(max(sizes.get(name, 0), 0) for name in deleted)})


def _is_anonymous(volume: Mapping[str, Any]) -> bool:
    return _ANONYMOUS.fullmatch(volume["Name"]) is not None and volume["Driver"] == "local" and not volume.get("Options")


def _is_asked_for(thing: Mapping[str, Any], filters: Filters) -> bool:
    return filters.labels(thing.get("Labels")) and not filters.spares(thing.get("Labels"))


async def _volume_sizes(engine: EngineLink) -> Mapping[str, int]:
    usage = await engine.call("GET", "/system/df")
    volumes = (usage.json()["Volumes"] or ()) if usage.ok else ()
    return {volume["Name"]: (volume.get("UsageData") or {}).get("Size", 0) for volume in volumes}


async def shared_sizes(call: Call, engine: EngineLink) -> EngineReply | None:
    """The list of images with what only `system df` of such an engine computes."""
    if not call.query.flag("shared-size"):
        return None
    listed = await engine.call("GET", call.path, query=call.asking(shared_size=None).query.text)
    usage = await engine.call("GET", "/system/df")
    if not listed.ok or not usage.ok:
        return usage if listed.ok else listed
    sizes = {image["Id"]: image["SharedSize"] for image in usage.json()["Images"] or ()}
    return _reply([{**image, "SharedSize": sizes.get(image["Id"], -1)} for image in listed.json()])


_MEMBERS_OF_TYPE = {
    "container": {"Containers"},
    "image": {"Images", "LayersSize"},
    "volume": {"Volumes"},
    "build-cache": {"BuildCache", "BuilderSize"},
}


async def disk_usage_of_types(call: Call, engine: EngineLink) -> EngineReply | None:
    """The engine computes everything; only what was asked for is shown."""
    asked = call.query.all("type")
    if not asked:
        return None
    for kind in asked:
        if kind not in _MEMBERS_OF_TYPE:
            raise InvalidArgument(f"unknown object type: {kind}")
    usage = await engine.call("GET", call.path)
    if not usage.ok:
        return usage
    shown = set().union(*(_MEMBERS_OF_TYPE[kind] for kind in asked))
    return _reply({name: value for name, value in usage.json().items() if name in shown})
