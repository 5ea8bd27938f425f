"""Callers who want to read what is committed now (thesis 6.4): all that came since the last turn share one question."""

import asyncio
from collections.abc import Callable

from manager.raft.core.events import ReadIndex

Waiter = asyncio.Future[int]


class Barriers:
    """From a caller's wish to read to the index that had to be applied first."""

    def __init__(self, *, first_request: int, patience_ticks: int) -> None:
        self._request = first_request  # drawn at random: an answer to a question of a former life must not fit
        self._patience = patience_ticks
        self._new: list[Waiter] = []
        self._resting: list[Waiter] = []  # nobody could be asked; try again at the next tick
        self._asked: dict[int, list[Waiter]] = {}
        self._ages: dict[int, int] = {}
        self._known: list[tuple[int, list[Waiter]]] = []  # may read once this index is applied

    def enter(self) -> Waiter:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._new.append(waiter)
        return waiter

    def take(self) -> list[ReadIndex]:
        new = [waiter for waiter in self._new if not waiter.done()]
        self._new = []
        if not new:
            return []
        self._request += 1
        self._asked[self._request] = new
        self._ages[self._request] = 0
        return [ReadIndex(request=self._request)]

    def tick(self) -> None:
        """Ask again what got no answer."""
        self._new += self._resting
        self._resting = []
        for request in list(self._ages):
            self._ages[request] += 1
            if self._ages[request] > self._patience:
                self._new += self._forget(request)

    def ask_anew(self) -> None:
        """Another one leads, or nobody: who was asked may never answer."""
        self._new += self._resting
        self._resting = []
        for request in list(self._asked):
            self._new += self._forget(request)

    def failed(self, request: int) -> None:
        self._resting += self._forget(request)

    def ready(self, request: int, index: int, *, applied: int) -> None:
        waiters = self._forget(request)
        if waiters:
            self._known.append((index, waiters))
            self.applied(applied)

    def applied(self, upto: int) -> None:
        if not self._known:
            return
        due = [known for known in self._known if known[0] <= upto]
        self._known = [known for known in self._known if known[0] > upto]
        for index, waiters in due:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(index)

    def refuse_all(self, error: Callable[[], Exception]) -> None:
        """This member takes part no more."""
        waiters = [*self._new, *self._resting]
        waiters += [waiter for asked in (*self._asked.values(), *(known for _, known in self._known)) for waiter in asked]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error())

    def _forget(self, request: int) -> list[Waiter]:
        self._ages.pop(request, None)
        return self._asked.pop(request, [])
