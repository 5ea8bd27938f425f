"""No status is lost on its way to the manager, and none is told twice without need."""

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.assignment import Statuses
from cluster.api.objects import TaskStatus
from cluster.api.states import TaskState
from worker.reporter import BATCH, RESEND_AFTER, Outbox, Reporter

STARTING, RUNNING, FAILED = (TaskStatus(state=state) for state in (TaskState.STARTING, TaskState.RUNNING, TaskState.FAILED))


def told(message: Statuses | None) -> dict[str, TaskStatus]:
    return {} if message is None else {one.task_id: one.status for one in message.statuses}


def test_of_one_task_only_the_latest_is_told() -> None:
    outbox = Outbox()
    outbox.put("t1", STARTING)
    outbox.put("t1", RUNNING)
    assert told(outbox.next_message()) == {"t1": RUNNING}
    assert outbox.next_message() is None


def test_what_is_not_acknowledged_is_told_again_by_the_next_session() -> None:
    outbox = Outbox()
    outbox.put("t1", RUNNING)
    outbox.put("t2", RUNNING)
    first = outbox.next_message()
    assert first is not None
    outbox.put("t1", FAILED)
    outbox.send_again()
    again = outbox.next_message()
    assert told(again) == {"t2": RUNNING, "t1": FAILED}
    assert again is not None
    assert again.sequence > first.sequence


def test_an_acknowledgement_covers_what_was_sent_up_to_it_and_no_later_status() -> None:
    outbox = Outbox()
    outbox.put("t1", STARTING)
    first = outbox.next_message()
    assert first is not None
    outbox.put("t1", RUNNING)
    outbox.taken(first.sequence)
    assert dict(outbox.pending) == {"t1": RUNNING}
    second = outbox.next_message()
    assert second is not None
    outbox.taken(second.sequence)
    assert dict(outbox.pending) == {}


def test_a_late_acknowledgement_of_an_old_session_takes_nothing_that_was_sent_since() -> None:
    outbox = Outbox()
    outbox.put("t1", RUNNING)
    first = outbox.next_message()
    outbox.send_again()
    outbox.next_message()
    assert first is not None
    outbox.taken(first.sequence)
    assert dict(outbox.pending) == {"t1": RUNNING}


def test_messages_are_bounded() -> None:
    outbox = Outbox()
    for number in range(BATCH + 1):
        outbox.put(f"t{number}", RUNNING)
    assert [len(told(outbox.next_message())) for _ in range(2)] == [BATCH, 1]


async def test_what_happens_together_travels_together_and_is_sent_again_after_a_while() -> None:
    clock = ManualClock()
    reporter = Reporter(clock)
    sent: list[dict[str, TaskStatus]] = []

    async def session() -> None:
        async for message in reporter.messages():
            sent.append(told(message))

    async with background(session):
        reporter.report("t1", STARTING)
        await clock.advance(0.001)
        reporter.report("t1", RUNNING)
        reporter.report("t2", RUNNING)
        await clock.advance(0.1)
        assert sent == [{"t1": STARTING}, {"t1": RUNNING, "t2": RUNNING}]
        await clock.advance(RESEND_AFTER)
        assert sent[2:] == [{"t1": RUNNING, "t2": RUNNING}]
