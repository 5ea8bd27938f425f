"""The promise: tables, JSON lines, quiet listings and times look as they do in Docker's CLI."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import human
from cli.commands.service_list import mode, published, replicas
from cli.errors import CliError
from cli.render import Listing, inspect, natural, show, table, truncated
from cli.session import Session
from cli.tasks import row as task_row

LISTING = Listing({"ID": "ID", "Name": "NAME", "Extra": "EXTRA"}, ("ID", "Name"))
ROWS: list[dict[str, Any]] = [
    {"ID": "abc", "Name": "web", "Extra": "<x>", "Label": lambda key: key.upper()},
    {"ID": "defghijklmn", "Name": "a-rather-long-name", "Extra": "", "Label": lambda key: ""},
]


def shown(form: str, *, quiet: bool = False) -> str:
    out = io.StringIO()
    show(Session(host=None, tls=None, env={}, config_dir=Path("/"), out=out), LISTING, ROWS, form, quiet=quiet)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("", "ID            NAME\nabc           web\ndefghijklmn   a-rather-long-name\n"),
        ("table", "ID            NAME\nabc           web\ndefghijklmn   a-rather-long-name\n"),
        ("table {{.Name}}\\t{{.Extra}}", "NAME                 EXTRA\nweb                  <x>\na-rather-long-name   \n"),
        ('table {{.Name}}\\t{{.Label "tier"}}', "NAME                 tier\nweb                  TIER\na-rather-long-name   \n"),
        ("{{.ID}}: {{.Name}}", "abc: web\ndefghijklmn: a-rather-long-name\n"),
        ("{{json .Extra}}", '"\\u003cx\\u003e"\n""\n'),
        ("json", '{"Extra":"\\u003cx\\u003e","ID":"abc","Name":"web"}\n{"Extra":"","ID":"defghijklmn","Name":"a-rather-long-name"}\n'),
    ],
)
def test_a_listing_takes_the_form_that_was_asked_for(form: str, out: str) -> None:
    assert shown(form) == out


def test_quiet_shows_ids_alone() -> None:
    assert shown("", quiet=True) == "abc\ndefghijklmn\n"


def test_a_field_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(CliError, match="can't evaluate field Bogus; there are Extra, ID, Label, Name"):
        shown("{{.Bogus}}")


def test_narrow_columns_are_ten_wide() -> None:
    assert table([["A", "B", "C"], ["1", "", "3"]]) == "A         B         C\n1                   3\n"


def test_inspect_shows_nothing_for_what_the_api_leaves_out_and_refuses_what_there_never_is() -> None:
    out = io.StringIO()
    session = Session(host=None, tls=None, env={}, config_dir=Path("/"), out=out)
    objects = [{"ID": "a", "Spec": {"Name": "x"}}]
    inspect(session, objects, "{{.Spec.User}}|{{.UpdateStatus}}|{{.ID}}")
    assert out.getvalue() == "||a\n"
    with pytest.raises(CliError, match="can't evaluate field Bogus"):
        inspect(session, objects, "{{.Bogus}}")


def test_names_are_sorted_as_people_count() -> None:
    assert sorted(["web.10", "web.2", "a", "web.1", "10", "9"], key=natural) == ["9", "10", "a", "web.1", "web.2", "web.10"]


def test_long_texts_end_in_an_ellipsis() -> None:
    assert (truncated("12345", 5), truncated("123456", 5)) == ("12345", "1234…")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (600, "10 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_spans_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert human.since(timedelta(seconds=seconds)) == said


def test_timestamps_with_nanoseconds_are_understood() -> None:
    now = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)
    assert human.ago("2026-01-01T00:00:00.123456789Z", now=now) == "59 seconds ago"
    assert human.ago("2026-01-01T01:00:30+01:00", now=now) == "30 seconds ago"


@pytest.mark.parametrize(
    ("nanoseconds", "said"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (2_000_000, "2ms"), (1_500_000_000, "1.5s"), (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s")],
)
def test_durations_are_printed_as_gos(nanoseconds: int, said: str) -> None:
    assert human.duration(nanoseconds) == said


def test_sizes_are_printed_in_both_systems() -> None:
    assert (human.bytes_size(67108864), human.decimal_size(1982000), human.bytes_size(0)) == ("64MiB", "1.982MB", "0B")


def port(published: int, target: int, protocol: str = "tcp", publish_mode: str = "ingress") -> dict[str, Any]:
    return {"PublishedPort": published, "TargetPort": target, "Protocol": protocol, "PublishMode": publish_mode}


def test_ports_that_follow_one_another_are_drawn_together() -> None:
    ports = [port(81, 8081), port(80, 8080), port(90, 90, "udp"), port(99, 99, publish_mode="host"), port(443, 443)]
    assert published(ports) == "*:443->443/tcp, *:80-81->8080-8081/tcp, *:90->90/udp"


@pytest.mark.parametrize(
    ("service_mode", "status", "placement", "said"),
    [
        ({"Replicated": {"Replicas": 3}}, {"RunningTasks": 2, "DesiredTasks": 3}, {}, "2/3"),
        ({"Replicated": {"Replicas": 3}}, {"RunningTasks": 2, "DesiredTasks": 3}, {"MaxReplicas": 1}, "2/3 (max 1 per node)"),
        ({"Global": {}}, {"RunningTasks": 1, "DesiredTasks": 1}, {}, "1/1"),
        (
            {"ReplicatedJob": {"TotalCompletions": 5}},
            {"RunningTasks": 1, "DesiredTasks": 2, "CompletedTasks": 3},
            {},
            "1/2 (3/5 completed)",
        ),
        ({"GlobalJob": {}}, {"RunningTasks": 0, "DesiredTasks": 0, "CompletedTasks": 1}, {}, "0/0 (1/1 completed)"),
    ],
)
def test_replicas_say_how_much_runs_and_how_much_is_done(
    service_mode: dict[str, Any], status: dict[str, int], placement: dict[str, int], said: str
) -> None:
    service = {"Spec": {"Name": "x", "Mode": service_mode, "TaskTemplate": {"Placement": placement}}, "ServiceStatus": status}
    assert replicas(service) == said


def test_every_mode_has_its_word() -> None:
    words = [mode({member: {}}) for member in ("Replicated", "Global", "ReplicatedJob", "GlobalJob")]
    assert words == ["replicated", "global", "replicated job", "global job"]


def test_a_task_is_shown_with_state_age_error_and_host_ports() -> None:
    task = {
        "ID": "0123456789abcdef",
        "Spec": {"ContainerSpec": {"Image": "busybox:1@sha256:" + "0" * 64}},
        "DesiredState": "running",
        "Status": {
            "State": "failed",
            "Timestamp": "2026-01-01T00:00:00Z",
            "Err": "a text of more than thirty characters",
            "PortStatus": {"Ports": [{"PublishedPort": 80, "TargetPort": 8080, "Protocol": "tcp"}]},
        },
    }
    now = datetime(2026, 1, 1, 0, 1, 5, tzinfo=UTC)
    short, whole = (task_row(task, "web.1", "host", now=now, whole=whole) for whole in (False, True))
    assert short == {
        "ID": "0123456789ab",
        "Name": "web.1",
        "Image": "busybox:1",
        "Node": "host",
        "DesiredState": "Running",
        "CurrentState": "Failed about a minute ago",
        "Error": '"a text of more than thirty ch…"',
        "Ports": "*:80->8080/tcp",
    }
    assert (whole["ID"], whole["Error"]) == ("0123456789abcdef", '"a text of more than thirty characters"')
