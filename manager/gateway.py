"""Every manager answers: what only the leader can do is done here if this node leads, else passed on to it.

Calls whose caller matters (a node's own session, its certificate, its membership) are not passed on: they are refused with the leader's
address, and the node goes there itself. During an election both kinds wait for its outcome.

What was passed on once is not passed on again, nor does it wait: whoever passed it on asks elsewhere as soon as another one leads, and may
have told its client of a refusal there by the time that a second way to the leader would do what was refused.

For the same reason commands name the term that they were sent in: a leader that lost and won an election meanwhile does not do late ones.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from cluster.aio.supervise import first_of
from cluster.api.assignment import FromNode, LogOrder, ReachOrder, ToNode
from cluster.api.commands import Command, Outcome
from cluster.api.contracts import (
    AdmissionRequest,
    Admitted,
    Answer,
    Attached,
    AttachRequest,
    Caller,
    CertificateRequest,
    Commands,
    ControlAPI,
    Conversations,
    DetachRequest,
    IssuedCertificate,
    MemberAnswer,
    MemberRequest,
    NodeCA,
    Streams,
    Taken,
)
from cluster.api.errors import Internal, InvalidArgument, NoLeader, ShoalError, code_of
from cluster.api.ids import Id
from cluster.rpc.client import RpcError
from cluster.rpc.pool import Remotes
from manager.bundles import Bundles
from manager.controlapi.control import Control
from manager.leader import Leading

Answered = TypeVar("Answered")
Asked = TypeVar("Asked")

log = logging.getLogger(__name__)

_decoder = msgspec.msgpack.Decoder(Command)

_TIMEOUT = 10.0
_PAUSE = 0.05
_UNSURE = "what was asked for may be done later all the same: look before asking again"


class Leadership(Protocol):
    """Who leads, as this manager knows it."""

    def leading(self) -> Leading | None:
        """This manager's term, if it leads and is ready to."""
        ...

    def leader_addr(self) -> str:
        """Where the leader is; empty if none is known, or if it is this node."""
        ...

    def term(self) -> int:
        """The term of that leader."""
        ...

    async def wait_leader(self) -> None:
        """Wait for a leader to be known. Raises NoLeader, with the reason, once that is hopeless."""
        ...

    async def wait_other_than(self, address: str) -> None:
        """Wait until the leader is not, or not known to be, at this address."""
        ...

    def hasten(self, node_id: Id) -> None:
        """This manager leads and does something for that one, where somebody waits to see it; said before, and after for what took long."""
        ...

    def no_leader(self, *hints: str) -> NoLeader:
        """What to say when nobody leads."""
        ...


class Gateway:
    """Implements ControlAPI, Dispatcher, Guests, Membership and NodeCA on every manager."""

    def __init__(self, leadership: Leadership, remotes: Remotes) -> None:
        self._leadership = leadership
        self._remotes = remotes
        self._bundles = Bundles(self._ask_bundle)

    # -- passed on ---------------------------------------------------------------------------------------------------------------
    async def have_executed(self, caller: Caller, request: Command) -> Outcome:
        return await self._until_answered(
            lambda leading: leading.control.execute(caller, request), lambda address: self._bundles.ask(address, request)
        )

    async def have_admitted(self, caller: Caller, request: AdmissionRequest) -> Admitted:
        return await self._until_answered(
            lambda leading: leading.certificates.admit(caller, request), lambda address: self._ask(address, NodeCA.admit, request)
        )

    async def order(self, caller: Caller, request: LogOrder) -> Taken:
        return await self._until_answered(
            lambda leading: leading.dispatcher.order(caller, request), lambda address: self._ask(address, Streams.order, request)
        )

    async def reach(self, caller: Caller, request: ReachOrder) -> Taken:
        return await self._until_answered(
            lambda leading: leading.dispatcher.reach(caller, request), lambda address: self._ask(address, Conversations.reach, request)
        )

    async def _until_answered(
        self, here: Callable[[Leading], Awaitable[Answered]], there: Callable[[str], Awaitable[Answered]]
    ) -> Answered:
        """Until a leader answers. One that goes away meanwhile may have done it or not: its successor is asked again, which is safe since
        every request carries an id of its own.
        """
        hints: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(_TIMEOUT):
                while True:
                    await self._leadership.wait_leader()
                    try:
                        return await self._ask_leader(here, there)
                    except (NoLeader, RpcError) as lost:
                        log.info("asking again: %s", lost)
                        hints = (_UNSURE,)
                    await asyncio.sleep(_PAUSE)
        except (TimeoutError, NoLeader) as silent:
            raise self._leadership.no_leader(*hints) from silent

    async def _ask_leader(self, here: Callable[[Leading], Awaitable[Answered]], there: Callable[[str], Awaitable[Answered]]) -> Answered:
        if (leading := self._leadership.leading()) is not None:
            return await here(leading)
        address = self._leadership.leader_addr()
        if not address:
            raise NoLeader
        return await there(address)

    async def _ask(self, address: str, method: Callable[[Any, Caller, Asked], Awaitable[Answered]], request: Asked) -> Answered:
        """Ask the manager at an address for as long as the leader may be there."""
        answers: list[Answered] = []

        async def ask() -> None:
            answers.append(await self._remotes.to(address).unary(method, request, timeout=_TIMEOUT))

        if await first_of(ask, lambda: self._leadership.wait_other_than(address)) == 1:
            raise NoLeader(f"{address} does not lead any more")
        return answers[0]

    async def _ask_bundle(self, address: str, commands: Commands) -> tuple[Answer, ...]:
        return await self._ask(address, ControlAPI.execute, replace(commands, term=self._leadership.term()))

    # -- what was passed on to this manager: done now, or not at all --------------------------------------------------------------
    async def execute(self, caller: Caller, request: Commands) -> tuple[Answer, ...]:
        leading = self._now_here()
        if request.term not in (0, leading.term):
            raise NoLeader(f"this was for the leader of term {request.term}, and this is term {leading.term}")
        control = leading.control
        self._leadership.hasten(caller.node_id)
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(_answer(control, caller, encoded)) for encoded in request.encoded]
        self._leadership.hasten(caller.node_id)
        return tuple(answer.result() for answer in answers)

    async def admit(self, caller: Caller, request: AdmissionRequest) -> Admitted:
        return await self._now_here().certificates.admit(caller, request)

    # -- only where the leader is ---------------------------------------------------------------------------------------------------
    async def session(self, caller: Caller, requests: AsyncIterator[FromNode]) -> AsyncIterator[ToNode]:
        leading = await self._here()
        async with aclosing(leading.dispatcher.session(caller, requests)) as messages:
            async for message in messages:
                yield message

    async def renew(self, caller: Caller, request: CertificateRequest) -> IssuedCertificate:
        return await (await self._here()).certificates.renew(caller, request)

    async def join(self, caller: Caller, request: MemberRequest) -> MemberAnswer:
        return await (await self._here()).membership.join(caller, request)

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        return await (await self._here()).guests.attach(caller, request)

    async def detach(self, caller: Caller, request: DetachRequest) -> Taken:
        return await (await self._here()).guests.detach(caller, request)

    async def leave(self, caller: Caller, request: Taken) -> Taken:
        return await (await self._here()).membership.leave(caller, request)

    async def _here(self) -> Leading:
        await self._leadership.wait_leader()
        return self._now_here()

    def _now_here(self) -> Leading:
        leading = self._leadership.leading()
        if leading is None:
            elsewhere = NoLeader("this manager does not lead")
            elsewhere.leader_addr = self._leadership.leader_addr()
            raise elsewhere
        return leading


async def _answer(control: Control, caller: Caller, encoded: bytes) -> Answer:
    try:
        return Answer(outcome=await control.execute(caller, _decoder.decode(encoded)))
    except msgspec.MsgspecError as wrong:
        return Answer(code=code_of(unreadable := InvalidArgument(str(wrong))), text=str(unreadable))
    except ShoalError as refused:
        return Answer(code=code_of(refused), text=str(refused))
    except Exception:
        log.exception("a command of %s failed", caller.node_id)  # those that came with it have nothing to do with that
        return Answer(code=code_of(broken := Internal("internal error of the leader: its log has the details")), text=str(broken))
