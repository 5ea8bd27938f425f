"""Readiness: is a running task fit for traffic? A command inside the container says so, again and again. Pure; the runner asks.

Unlike a health check it ends nothing: a task that is not ready keeps running, out of its service's virtual address and names.
"""

from cluster.api.specs import SECOND, Readiness
from cluster.api.values import Value
from worker.ports import ExecResult

INTERVAL = 5 * SECOND
EAGER = 1 * SECOND
"""Between two questions while it is not ready: a task that has come up should not wait for traffic."""
TIMEOUT = 3 * SECOND
RETRIES = 3
LONGEST_OUTPUT = 200


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


def problem_of(result: ExecResult | None, readiness: Readiness) -> str:
    """None for a result: it did not come in time."""
    if result is None:
        return f"readiness: no answer within {timeout(readiness):g} s"
    if result.exit_code == 0:
        return ""
    output = " ".join(result.output.split())[:LONGEST_OUTPUT]
    return f"readiness: exit {result.exit_code}" + (f": {output}" if output else "")
