"""Logs and events come in chunks cut anywhere; what was written comes out."""

import json

import pytest

from worker.engine.docker_events import EventStream
from worker.engine.docker_logs import FramedLog, TerminalLog, log_query
from worker.engine.docker_states import engine_info, inspected, speaks_for_shoal
from worker.ports import EngineEvent, LogLine

STAMP, NANOSECONDS = b"2023-11-14T22:13:20.000000042Z ", 1_700_000_000_000_000_042


def frame(source: int, text: bytes) -> bytes:
    message = STAMP + text
    return bytes([source, 0, 0, 0]) + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_framed_lines_keep_their_source_time_and_bytes(size: int) -> None:
    content = frame(1, b"one\n") + frame(2, b"\xff two\n") + frame(1, b"a piece without an end")
    log = FramedLog()
    lines = [line for at in range(0, len(content), size) for line in log.feed(content[at : at + size])]
    assert lines == [
        LogLine(source=1, timestamp=NANOSECONDS, line=b"one\n"),
        LogLine(source=2, timestamp=NANOSECONDS, line=b"\xff two\n"),
        LogLine(source=1, timestamp=NANOSECONDS, line=b"a piece without an end"),
    ]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_terminals_log_is_plain_text(size: int) -> None:
    content = STAMP + b"one\r\n" + STAMP + b"rest"
    log = TerminalLog()
    lines = [line for at in range(0, len(content), size) for line in log.feed(content[at : at + size])] + list(log.rest())
    assert lines == [LogLine(source=1, timestamp=NANOSECONDS, line=b"one\r\n"), LogLine(source=1, timestamp=NANOSECONDS, line=b"rest")]


def test_a_stamp_may_have_another_zone_or_no_fraction() -> None:
    log = TerminalLog()
    assert [line.timestamp for line in log.feed(b"2023-11-14T23:13:20+01:00 x\nno stamp\n")] == [1_700_000_000_000_000_000, 0]


def test_times_are_asked_for_to_the_nanosecond() -> None:
    query = log_query(follow=True, tail=5, since=NANOSECONDS, until=0, stdout=True, stderr=False)
    assert query == {"follow": "1", "stdout": "1", "stderr": "0", "timestamps": "1", "tail": "5", "since": "1700000000.000000042"}


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_events_are_put_together_and_exec_noise_is_left_out(size: int) -> None:
    messages = [
        {"Type": "container", "Action": "die", "Actor": {"ID": "c1", "Attributes": {"exitCode": "137", "name": "x"}}},
        {"Type": "container", "Action": "exec_start: sh", "Actor": {"ID": "c1", "Attributes": {}}},
        {"Type": "container", "Action": "health_status: healthy", "Actor": {"ID": "c2", "Attributes": {}}},
    ]
    content = "\n".join(json.dumps(message) for message in messages).encode()
    stream = EventStream()
    events = [event for at in range(0, len(content), size) for event in stream.feed(content[at : at + size])]
    assert events == [
        EngineEvent(container_id="c1", kind="die", labels={"exitCode": "137", "name": "x"}, exit_code=137),
        EngineEvent(container_id="c2", kind="health_status"),
    ]


def test_an_inspected_container_tells_created_running_and_ended_apart() -> None:
    never = inspected({"Id": "c", "Name": "/n", "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}})
    assert (never.created_only, never.running, never.started_at, never.name) == (True, False, "", "n")
    health = {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "old"}, {"ExitCode": 1, "Output": "new"}, {"ExitCode": 0}]}
    running = inspected({"Id": "c", "State": {"Status": "running", "Running": True, "Pid": 5, "Health": health, "StartedAt": "t"}})
    assert (running.running, running.pid, running.health, running.health_log) == (True, 5, "unhealthy", "new")
    ended = inspected({"Id": "c", "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}})
    assert (ended.running, ended.created_only, ended.exit_code, ended.oom_killed) == (False, False, 137, True)


def test_an_engine_in_swarm_mode_is_seen_and_our_own_daemon_is_not_taken_for_one() -> None:
    version = {"Version": "28.2.2", "ApiVersion": "1.50", "Components": [{"Name": "Engine"}]}
    assert engine_info({"Swarm": {"LocalNodeState": "active"}}, version).in_swarm_mode
    assert engine_info({"Swarm": {"LocalNodeState": "locked"}}, version).in_swarm_mode
    assert not engine_info({"Swarm": {"LocalNodeState": "inactive"}}, version).in_swarm_mode
    assert speaks_for_shoal({"Components": [{"Name": "Shoal"}]})
    assert not speaks_for_shoal(version)
