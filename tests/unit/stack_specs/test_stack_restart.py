"""Restart policies come from deploy, or failing that from the older key."""

import pytest

from stack_specs.errors import StackError
from stack_specs.values import Json
from tests.unit.stack_specs.stack_files import planned, service_body, stack_of


def policy(lines: str) -> Json:
    task = service_body(lines)["TaskTemplate"]
    assert isinstance(task, dict)
    return task.get("RestartPolicy")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("'no'", None),
        ("''", None),
        ("always", {"Condition": "any"}),
        ("always:3", {"Condition": "any"}),
        ("unless-stopped", {"Condition": "any"}),
        ("on-failure", {"Condition": "on-failure", "MaxAttempts": 0}),
        ("on-failure:3", {"Condition": "on-failure", "MaxAttempts": 3}),
        ("on-failure:-1", {"Condition": "on-failure", "MaxAttempts": 2**64 - 1}),
    ],
)
def test_the_older_key(written: str, sent: Json) -> None:
    assert policy(f"restart: {written}") == sent


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("sometimes", "unknown restart policy: sometimes; use no, always"),
        ("on-failure:often", "maximum retry count must be an integer"),
        ("':3'", "no policy provided before colon"),
    ],
)
def test_a_bad_older_key_is_refused(written: str, says: str) -> None:
    with pytest.raises(StackError, match=f"stack1.yml:4: services.web.restart: {says}"):
        planned(stack_of(f"restart: {written}"))


def test_deploy_wins() -> None:
    assert policy("restart: always\ndeploy: {restart_policy: {condition: none, max_attempts: 0, delay: 0s, window: 1s}}") == {
        "Condition": "none",
        "Delay": 0,
        "MaxAttempts": 0,
        "Window": 10**9,
    }
    assert policy("restart: always\ndeploy: {restart_policy: {}}") == {}
