"""Assignments are applied whole, in order, or not at all."""

import pytest

from cluster.api.assignment import AssignedSecret, Assignments
from cluster.api.endpoint import OverlayNetwork
from tests.unit.worker.worker_values import assigned
from worker.assignments import AssignmentSet, OutOfStep, applied

SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"hush")
NET = OverlayNetwork(network_id="net1", name="n", subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)
FIRST = Assignments(version=5, complete=True, tasks=(assigned("t1"), assigned("t2", connected=True)), secrets=(SECRET,), networks=(NET,))


def test_a_complete_set_replaces_everything() -> None:
    now = applied(AssignmentSet(version=3, tasks={"old": assigned("old")}), FIRST)
    assert (now.version, now.synced, sorted(now.tasks), sorted(now.secrets)) == (5, True, ["t1", "t2"], ["x1"])


def test_a_step_changes_what_it_names() -> None:
    step = Assignments(version=6, applies_to=5, tasks=(assigned("t3"),), gone_tasks=("t1",), gone_secrets=("x1",))
    now = applied(applied(AssignmentSet(), FIRST), step)
    assert (now.version, sorted(now.tasks), dict(now.secrets)) == (6, ["t2", "t3"], {})


def test_a_step_for_another_version_asks_for_a_new_session() -> None:
    with pytest.raises(OutOfStep) as refused:
        applied(applied(AssignmentSet(), FIRST), Assignments(version=9, applies_to=8))
    assert (refused.value.has, refused.value.applies_to) == (5, 8)


def test_after_a_restart_no_step_fits_as_secrets_were_not_kept() -> None:
    with pytest.raises(OutOfStep):
        applied(AssignmentSet(version=5, tasks={"t1": assigned("t1")}), Assignments(version=6, applies_to=5))


def test_a_set_in_several_messages_counts_once_the_last_is_there() -> None:
    parts = [
        Assignments(version=7, complete=True, more=True, tasks=(assigned("t1"),)),
        Assignments(version=7, complete=True, more=True, secrets=(SECRET,)),
        Assignments(version=7, complete=True, tasks=(assigned("t2"),)),
    ]
    now = applied(AssignmentSet(), FIRST)
    for part in parts[:2]:
        now = applied(now, part)
        assert (now.version, sorted(now.tasks)) == (5, ["t1", "t2"])
    now = applied(now, parts[2])
    assert (now.version, sorted(now.tasks), sorted(now.secrets), now.parts) == (7, ["t1", "t2"], ["x1"], ())


def test_parts_of_a_set_that_was_begun_anew_are_dropped() -> None:
    now = applied(AssignmentSet(), Assignments(version=7, complete=True, more=True, tasks=(assigned("stale"),)))
    now = applied(now, Assignments(version=8, complete=True, tasks=(assigned("t1"),)))
    assert sorted(now.tasks) == ["t1"]


def test_a_network_is_kept_as_long_as_a_task_is_on_it() -> None:
    now = applied(AssignmentSet(), FIRST)
    assert sorted(now.networks) == ["net1"]
    assert dict(applied(now, Assignments(version=6, applies_to=5, gone_tasks=("t2",))).networks) == {}
