"""What operators ask of the membership, made of the core's single steps: retried while another one is on its way."""

import asyncio
from typing import Protocol

from cluster.aio.latest import Latest
from manager.raft.config import Leadership, RaftConfig
from manager.raft.core.membership import Add, Change, Demote, MemberId, Membership, Promote, Readdress, Remove, Standing
from manager.raft.errors import MembershipRefused, NotLeader
from manager.raft.proposals import NotNow


class Group(Protocol):
    """What is needed of the driver."""

    me: MemberId
    config: RaftConfig
    leadership: Latest[Leadership]
    membership: Latest[Membership]

    async def change_membership(self, change: Change) -> None: ...

    async def transfer_leadership(self, to: MemberId | None = None) -> bool: ...


async def add(group: Group, wanted: Add) -> None:
    known = group.membership.value.find(wanted.id)
    if known is None:
        await _change(group, wanted)
    elif known.address != wanted.address:
        await _change(group, Readdress(id=wanted.id, address=wanted.address))
    if known is not None and known.standing is Standing.LEARNER and wanted.promote:
        await _change(group, Promote(id=wanted.id))


async def promote(group: Group, wanted: Promote) -> None:
    await _change(group, wanted)
    async for now in group.membership.values():
        member = now.find(wanted.id)
        if member is None:
            raise MembershipRefused(f"member {wanted.id} was removed before it had caught up")
        if member.standing is Standing.VOTER:
            return


async def take_out(group: Group, wanted: Demote | Remove) -> None:
    if wanted.id == group.me and group.leadership.value.is_me and len(group.membership.value.voters) > 1:
        if not await group.transfer_leadership():
            raise MembershipRefused("no other manager could take leadership over; try again when a majority is reachable")
        raise NotLeader(group.leadership.value.leader)
    await _change(group, wanted)


async def _change(group: Group, change: Change) -> None:
    """A leader that is new, or busy with another change, is asked again for about two election timeouts."""
    tries = 2 * group.config.core.election_ticks
    for attempt in range(tries):
        try:
            await group.change_membership(change)
            return
        except NotNow:
            if attempt == tries - 1:
                raise
            await asyncio.sleep(group.config.tick_seconds)
