"""Commands for the leader that come at about the same time go there in one call, and come into its log together. A call between managers
costs both of them more than ten commands do.

One call is under way to a leader at a time; while it is, what comes gathers for the next, and the first that comes after it waits a moment
for as many as were answered. Nobody stands apart to carry the bundles: one of those who wait does, with what all of them want, and then the
next one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from cluster.aio.company import Company
from cluster.api.commands import Command, Outcome
from cluster.api.contracts import Answer, Commands
from cluster.api.errors import ShoalError, from_code
from cluster.rpc.client import RpcError

MOST_COMMANDS, MOST_BYTES = 64, 1024 * 1024
"""Of one call; a command that is larger goes alone."""
MOMENT = 0.001
"""Seconds between two looks whether company comes."""

Call = Callable[[str, Commands], Awaitable[tuple[Answer, ...]]]
"""Asks the leader at an address; an answer for each command, in order."""

_encoder = msgspec.msgpack.Encoder()


class _Asked:
    """One command, and whoever waits for its outcome."""

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded
        self.is_taken = False
        """It is in a bundle."""
        self.carries = False
        """Whoever waits for it carries the next bundle, or does so already."""
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it is in a bundle, or to be carried by whoever waits for it."""
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def take(self) -> bytes:
        self.is_taken = True
        self.call()
        return self.encoded

    def call(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)

    def give(self, answer: Outcome | ShoalError) -> None:
        if self.answer.done():
            return
        if isinstance(answer, ShoalError):
            self.answer.set_exception(answer)
            self.answer.exception()  # whoever asked may be gone: that is no news
        else:
            self.answer.set_result(answer)


class _Line:
    """What is to go to one leader."""

    def __init__(self, moment: float) -> None:
        self._moment = moment
        self.waiting: deque[_Asked] = deque()
        self.is_carried = False
        self.company = Company()
        self.came = asyncio.Event()
        """All of the company that is waited for, perhaps."""

    def join(self, asked: _Asked) -> None:
        self.waiting.append(asked)
        if self._are_enough:
            self.came.set()

    @property
    def _are_enough(self) -> bool:
        return len(self.waiting) >= MOST_COMMANDS or self.company.is_there(len(self.waiting))

    async def gather(self) -> None:
        while not self._are_enough:
            self.came.clear()
            try:
                async with asyncio.timeout(self._moment):
                    await self.came.wait()
            except TimeoutError:
                self.company.look(len(self.waiting))

    def take(self) -> list[_Asked]:
        bundle: list[_Asked] = []
        size = 0
        while self.waiting and len(bundle) < MOST_COMMANDS:
            if bundle and size + len(self.waiting[0].encoded) > MOST_BYTES:
                break
            bundle.append(asked := self.waiting.popleft())
            size += len(asked.take())
        return bundle

    def relieve(self) -> None:
        """The carrier is done: the first that waits takes its place."""
        if self.waiting:
            self.waiting[0].carries = True
            self.waiting[0].call()
        else:
            self.is_carried = False


class Bundles:
    """The ways to the leaders, by address."""

    def __init__(self, call: Call, *, moment: float = MOMENT) -> None:
        self._call = call
        self._moment = moment
        self._lines: dict[str, _Line] = {}

    async def ask(self, address: str, command: Command) -> Outcome:
        """Raises what the leader refuses, NoLeader or RpcError when it may have done it or not."""
        line = self._lines.setdefault(address, _Line(self._moment))
        asked = _Asked(_encoder.encode(command))
        line.join(asked)
        try:
            await asyncio.sleep(0)  # what else came in this turn goes too
            if not line.is_carried and not asked.is_taken:
                line.is_carried = asked.carries = True
            elif not asked.carries:
                await asked.turn
            while not asked.is_taken:
                await self._carry(line, address)
        finally:
            if not asked.is_taken:
                line.waiting.remove(asked)
            if asked.carries:
                line.relieve()
        return await asked.answer

    async def _carry(self, line: _Line, address: str) -> None:
        await line.gather()
        bundle = line.take()
        answers: list[Outcome | ShoalError] = []
        lost: ShoalError = RpcError("whoever asked the leader for all of them was told to stop")
        try:
            said = await self._call(address, Commands(tuple(asked.encoded for asked in bundle)))
            answers = [_outcome(one) for one in said]
            line.company.answered(len(bundle), waiting=len(line.waiting))
        except ShoalError as failed:
            lost = failed
            line.company.part()
        finally:
            for place, asked in enumerate(bundle):
                asked.give(answers[place] if place < len(answers) else lost)


def _outcome(answer: Answer) -> Outcome | ShoalError:
    return answer.outcome if answer.outcome is not None else from_code(answer.code, answer.text)
