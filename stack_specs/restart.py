"""When to start a task's successor: `deploy.restart_policy`, or failing that the older `restart` of a service."""

import re

from stack_specs.errors import Fault, KeyPath
from stack_specs.model import RestartPolicy, Service
from stack_specs.values import Json

_WHOLE = re.compile(r"[-+]?[0-9]+")


def restart_policy(service: Service, path: KeyPath) -> Json:
    """The policy's body, or None if the file says nothing about it."""
    if service.deploy.restart_policy is not None:
        return _policy(service.deploy.restart_policy)
    return _older(service.restart, (*path, "restart"))


def _policy(policy: RestartPolicy) -> Json:
    body: dict[str, Json] = {"Condition": policy.condition} if policy.condition else {}
    if policy.delay is not None:
        body["Delay"] = int(policy.delay)
    if policy.max_attempts is not None:
        body["MaxAttempts"] = policy.max_attempts
    if policy.window is not None:
        body["Window"] = int(policy.window)
    return body


def _older(text: str, path: KeyPath) -> Json:
    name, colon, count = text.partition(":")
    if colon and not name:
        raise Fault(path, "no policy provided before colon", "write on-failure:3, for example")
    if count and not _WHOLE.fullmatch(count):
        raise Fault(path, "maximum retry count must be an integer", "write on-failure:3, for example")
    match name:
        case "" | "no":
            return None
        case "always" | "unless-stopped":
            return {"Condition": "any"}
        case "on-failure":
            return {"Condition": "on-failure", "MaxAttempts": int(count or 0) % 2**64}  # a negative count is docker's "without end"
        case _:
            raise Fault(path, f"unknown restart policy: {text}", "use no, always, unless-stopped or on-failure")
