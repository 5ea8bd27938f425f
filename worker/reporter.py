"""Observed (step 9): what tasks have come to, on its way to the manager, sent again until the manager says that it is committed.

Per task only the latest status counts. What is in flight when a session breaks is sent again by the next one.
"""

from collections.abc import AsyncIterator, Mapping

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import ReportedStatus, Statuses
from cluster.api.ids import Id
from cluster.api.objects import TaskStatus

BATCH = 200
"""Statuses a message; some 60 KiB."""
GATHER = 0.02
"""Seconds between two messages: what happens within them travels together."""
RESEND_AFTER = 10.0


class Outbox:
    """Statuses not yet committed, and the sequence number of the message that last carried each. No clock, no I/O."""

    def __init__(self) -> None:
        self._unsent: dict[Id, TaskStatus] = {}
        self._in_flight: dict[Id, tuple[int, TaskStatus]] = {}
        self._sequence = 0

    def put(self, task_id: Id, status: TaskStatus) -> None:
        self._in_flight.pop(task_id, None)
        self._unsent[task_id] = status

    def drop(self, task_id: Id) -> None:
        """The task is gone: nobody wants to know any more."""
        self._in_flight.pop(task_id, None)
        self._unsent.pop(task_id, None)

    def next_message(self) -> Statuses | None:
        """Up to BATCH statuses, oldest first."""
        if not self._unsent:
            return None
        self._sequence += 1
        chosen = list(self._unsent)[:BATCH]
        for task_id in chosen:
            self._in_flight[task_id] = (self._sequence, self._unsent.pop(task_id))
        statuses = tuple(ReportedStatus(task_id=task_id, status=self._in_flight[task_id][1]) for task_id in chosen)
        return Statuses(sequence=self._sequence, statuses=statuses)

    def taken(self, sequence: int) -> None:
        for task_id in [task_id for task_id, (sent, _) in self._in_flight.items() if sent <= sequence]:
            del self._in_flight[task_id]

    def send_again(self) -> None:
        """Everything in flight goes back in front: its fate is unknown."""
        again = {task_id: status for task_id, (_, status) in self._in_flight.items()}
        self._unsent = {**again, **self._unsent}
        self._in_flight = {}

    @property
    def pending(self) -> Mapping[Id, TaskStatus]:
        """All that is not known to be committed."""
        return {task_id: status for task_id, (_, status) in self._in_flight.items()} | self._unsent

    @property
    def in_flight(self) -> bool:
        return bool(self._in_flight)


class Reporter:
    """Runners report, a session takes the messages and passes the acknowledgements back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outbox = Outbox()
        self._changes = Latest(0)

    def report(self, task_id: Id, status: TaskStatus) -> None:
        self._outbox.put(task_id, status)
        self._wake()

    def forget(self, task_id: Id) -> None:
        self._outbox.drop(task_id)

    def taken(self, sequence: int) -> None:
        self._outbox.taken(sequence)

    @property
    def pending(self) -> Mapping[Id, TaskStatus]:
        return self._outbox.pending

    async def messages(self) -> AsyncIterator[Statuses]:
        """One session's messages, without end. Statuses of a session before it that were not taken come first."""
        self._outbox.send_again()
        while True:
            seen = self._changes.revision
            while message := self._outbox.next_message():
                yield message
                await self._clock.sleep(GATHER)
            await self._wait_more(seen)

    async def _wait_more(self, seen: int) -> None:
        async def change() -> None:
            await self._changes.wait_change(seen)

        async def patience() -> None:
            await self._clock.sleep(RESEND_AFTER)

        if self._outbox.in_flight:
            if await first_of(change, patience) == 1:
                self._outbox.send_again()
        else:
            await change()

    def _wake(self) -> None:
        self._changes.set(self._changes.value + 1)
