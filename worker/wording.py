"""Why a task ended, in Docker's words where Docker has some: scripts and people look for them. Pure."""

from cluster.api.specs import Resources
from worker.ports import ContainerState

GONE_CONTAINER = "task: its container is gone; somebody else removed it"
FOREIGN_START = "task: its container was started by somebody else"
FOREIGN_RESTART = "task: its container was restarted by somebody else"
CUT_OFF = "task: its node was cut off from the managers, and its service wants it stopped then"
LOST_RECORD = "task: the node lost its record of this task and has no container of it"

_MEBIBYTE = 1024 * 1024
_LONGEST = 500


def exit_error(container: ContainerState, resources: Resources | None) -> str:
    """`task: non-zero exit (137)`, with the cause when the engine knows one."""
    cause = container.error
    if container.oom_killed:
        cause = "out of memory" + _memory_limit(resources)
    return f"task: non-zero exit ({container.exit_code})" + (f": {cause}" if cause else "")


def _memory_limit(resources: Resources | None) -> str:
    limit = 0 if resources is None or resources.limits is None else resources.limits.memory_bytes
    return f" (the limit is {limit / _MEBIBYTE:g}MiB)" if limit else ""


def unhealthy_error(container: ContainerState) -> str:
    output = " ".join(container.health_log.split())
    return "unhealthy container" + (f": {output[:_LONGEST]}" if output else "")


def rejected_image(words: str, hostname: str) -> str:
    """Which node could not get it: the image may well be on others."""
    return f"{words} (on node {hostname})"


def start_failed(words: str) -> str:
    return f"starting container failed: {words}"
