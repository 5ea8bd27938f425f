"""Readiness: is a running task fit for traffic? A command inside the container says so, or one of its ports. Pure; the runner asks.

Unlike a health check it ends nothing: a task that is not ready keeps running, out of its service's virtual address and names.
"""

import re

from cluster.api.probes import COMMANDS, Knock, knock_of
from cluster.api.specs import SECOND, Readiness
from cluster.api.values import Value
from worker.ports import ExecResult

INTERVAL = 5 * SECOND
EAGER = 1 * SECOND
"""Between two questions while it is not ready: a task that has come up should not wait for traffic."""
TIMEOUT = 3 * SECOND
RETRIES = 3
LONGEST_OUTPUT = 200
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? ([1-5]\d\d)(?: ([^\r\n]*))?")


class Pulse(Value, frozen=True, kw_only=True):
    """What the answers so far add up to."""

    ready: bool = False
    failures: int = 0
    """In a row."""
    err: str = ""
    """Why it is not ready."""


def command(readiness: Readiness) -> tuple[str, ...]:
    kind, *words = readiness.test or ("CMD",)
    return ("/bin/sh", "-c", *words[:1]) if kind == "CMD-SHELL" else tuple(words)


def knock(readiness: Readiness) -> Knock | None:
    """The port to ask; None when a command says it."""
    return None if not readiness.test or readiness.test[0] in COMMANDS else knock_of(readiness.test)


def request(asked: Knock) -> bytes:
    """What to send; nothing for a test that is passed by taking the connection."""
    if not asked.path:
        return b""
    return f"GET {asked.path} HTTP/1.1\r\nHost: localhost:{asked.port}\r\nUser-Agent: shoal-readiness\r\nConnection: close\r\n\r\n".encode()


def timeout(readiness: Readiness) -> float:
    """Seconds."""
    return (readiness.timeout or TIMEOUT) / SECOND


def pause(readiness: Readiness, pulse: Pulse) -> float:
    """Seconds until the next question."""
    interval = readiness.interval or INTERVAL
    return (interval if pulse.ready else min(interval, EAGER)) / SECOND


def felt(pulse: Pulse, readiness: Readiness, problem: str) -> Pulse:
    """After one more answer; an empty `problem` is one that passed. It takes several failures to lose what one success gives."""
    if not problem:
        return Pulse(ready=True)
    failures = pulse.failures + 1
    if pulse.ready and failures < (readiness.retries or RETRIES):
        return Pulse(ready=True, failures=failures)
    return Pulse(ready=False, failures=failures, err=problem)


def no_answer(readiness: Readiness) -> str:
    return f"readiness: no answer within {timeout(readiness):g} s"


def problem_of(result: ExecResult) -> str:
    """What a command has against it; empty for nothing."""
    if result.exit_code == 0:
        return ""
    output = " ".join(result.output.split())[:LONGEST_OUTPUT]
    return f"readiness: exit {result.exit_code}" + (f": {output}" if output else "")


def problem_of_reply(asked: Knock, reply: bytes) -> str:
    """What the first line that a port answered comes to: as everywhere, 2xx and 3xx are fine."""
    if not asked.path:
        return ""
    found = _STATUS_LINE.match(reply)
    if found is None:
        return f"readiness: port {asked.port} does not speak HTTP"
    if found[1] < b"400" and found[1] >= b"200":
        return ""
    words = " ".join((found[2] or b"").decode(errors="replace").split())[:LONGEST_OUTPUT]
    return f"readiness: GET {asked.path} on port {asked.port}: {found[1].decode()} {words}".rstrip()


def problem_of_failure(asked: Knock, failed: OSError) -> str:
    return f"readiness: port {asked.port}: {(failed.strerror or str(failed)).lower()}"
