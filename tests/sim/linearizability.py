"""Whether what clients saw could have come from one copy that does one operation at a time (Herlihy and Wing, 1990).

The search is Wing and Gong's (1993) with Lowe's memory of configurations (2017): linearize whatever may come first, undo it when an answer
stays that nothing explains. What only looks comes as early as it fits and is not tried later as well: an order that has it later is as good
with it here, and n reads at a time would be 2**n configurations. Histories are judged key by key, which loses nothing: linearizability is
local. An operation without an answer may have taken effect at any time after it began, or never.
"""

from collections.abc import Hashable, Iterable, Sequence
from math import inf
from typing import Protocol

from msgspec import Struct

IMPOSSIBLE = object()
"""What a model says of an answer that the state cannot give."""


class Operation(Struct, frozen=True, kw_only=True):
    """One call of one client, retries and all."""

    client: str
    key: str
    call: Hashable
    answer: Hashable = None
    began: float
    ended: float = inf
    """Infinite: no answer came, or none that says whether it was done."""

    @property
    def is_open(self) -> bool:
        return self.ended == inf


class Model(Protocol):
    """The one copy of one key."""

    initial: Hashable

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        """The state after the operation, or IMPOSSIBLE if it cannot be answered so; an open one is only done, not answered."""
        ...

    def only_looks(self, operation: Operation) -> bool:
        """With this answer it changed nothing, whatever the state was; asked of answered ones."""
        ...


class Verdict(Struct, frozen=True, kw_only=True):
    """Why a history of one key was refused: the longest order that explains it, and what does not fit after it."""

    key: str
    explained: Sequence[Operation]
    stuck: Sequence[Operation]

    def __str__(self) -> str:
        lines = [f"the history of {self.key} is not linearizable; explained in this order:"]
        lines += [f"  {_said(operation)}" for operation in self.explained]
        lines += ["none of these can come next:", *(f"  {_said(operation)}" for operation in self.stuck)]
        return "\n".join(lines)


def _said(one: Operation) -> str:
    return f"{one.began:.3f}-{one.ended:.3f} {one.client}: {one.call} -> {'?' if one.is_open else one.answer}"


def judge(history: Iterable[Operation], model: Model) -> Verdict | None:
    """None if every key's history is linearizable; else the first, in order of the keys, that is not."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key in sorted(by_key):
        verdict = _Search(key, by_key[key], model).run()
        if verdict is not None:
            return verdict
    return None


class _Event:
    """A call or an answer in the list of what is not linearized; the list is doubly linked, so that taking out is undone in order."""

    __slots__ = ("after", "before", "is_call", "number", "partner")

    def __init__(self, number: int, *, is_call: bool) -> None:
        self.number = number
        self.is_call = is_call
        self.partner: _Event | None = None
        self.before: _Event | None = None
        self.after: _Event | None = None

    def take_out(self) -> None:
        if self.before is not None:
            self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def put_back(self) -> None:
        if self.before is not None:
            self.before.after = self
        if self.after is not None:
            self.after.before = self


class _Step(Struct, frozen=True):
    """What was linearized, the looks that came right after it, and what was before."""

    call: _Event | None
    state: Hashable
    done: int
    looks: list[_Event]


def _bits(calls: Sequence[_Event]) -> int:
    return sum(1 << call.number for call in calls)


class _Search:
    """Over the histories of one key."""

    def __init__(self, key: str, operations: Sequence[Operation], model: Model) -> None:
        self._key = key
        self._operations = sorted(operations, key=lambda one: (one.began, one.ended))
        self._model = model
        self._unanswered = sum(not one.is_open for one in self._operations)
        """Answers that are not explained yet."""
        self._head = _Event(-1, is_call=False)
        self._link()
        self._longest: tuple[int, ...] = ()

    def _link(self) -> None:
        events: list[tuple[float, int, _Event]] = []  # at the same instant calls come first: they overlap then
        for number, one in enumerate(self._operations):
            call = _Event(number, is_call=True)
            events.append((one.began, 0, call))
            if not one.is_open:
                answer = call.partner = _Event(number, is_call=False)
                events.append((one.ended, 1, answer))
        last = self._head
        for _, _, event in sorted(events, key=lambda entry: entry[:2]):
            event.before, last.after = last, event
            last = event

    def run(self) -> Verdict | None:
        state, done = self._model.initial, 0
        order: list[_Step] = [_Step(None, state, done, self._look(state))]
        done |= _bits(order[0].looks)
        seen: set[tuple[int, Hashable]] = set()
        event = self._head.after
        while self._unanswered:
            if event is not None and event.is_call:
                operation = self._operations[event.number]
                after = self._model.step(state, operation)
                configuration = (done | 1 << event.number, after)
                is_idle = operation.is_open and after == state  # left out, it leaves as much open: half of all configurations, each time
                if after is IMPOSSIBLE or is_idle or configuration in seen:
                    event = event.after
                    continue
                seen.add(configuration)
                self._lift(event)
                order.append(_Step(event, state, done, self._look(after)))
                state, done = after, configuration[0] | _bits(order[-1].looks)
                event = self._head.after
                continue
            self._remember(order)
            undone = order.pop()
            if undone.call is None:
                return self._verdict()
            for call in (*reversed(undone.looks), undone.call):
                self._unlift(call)
            state, done, event = undone.state, undone.done, undone.call.after
        return None

    def _look(self, state: Hashable) -> list[_Event]:
        """Take out what only looks and may come now."""
        taken: list[_Event] = []
        before = self._head
        while (event := before.after) is not None and event.is_call:
            operation = self._operations[event.number]
            if not operation.is_open and self._model.only_looks(operation) and self._model.step(state, operation) == state:
                self._lift(event)
                taken.append(event)
            else:
                before = event
        return taken

    def _lift(self, call: _Event) -> None:
        call.take_out()
        if call.partner is not None:
            call.partner.take_out()
            self._unanswered -= 1

    def _unlift(self, call: _Event) -> None:
        if call.partner is not None:
            call.partner.put_back()
            self._unanswered += 1
        call.put_back()

    def _remember(self, order: Sequence[_Step]) -> None:
        explained = [call.number for step in order for call in (step.call, *step.looks) if call is not None]
        if len(explained) > len(self._longest):
            self._longest = tuple(explained)

    def _verdict(self) -> Verdict:
        explained = set(self._longest)
        left = [one for number, one in enumerate(self._operations) if number not in explained]
        first_end = min(one.ended for one in left)
        return Verdict(
            key=self._key,
            explained=[self._operations[number] for number in self._longest],
            stuck=[one for one in left if one.began <= first_end],
        )
