"""Who takes part, and which single step may change that (thesis section 4). Values only; `reconfigure` uses them."""

import enum
from typing import NewType, assert_never

import msgspec

MemberId = NewType("MemberId", str)


class Standing(enum.Enum):
    """What a member counts for."""

    VOTER = "voter"
    LEARNER = "learner"  # is sent the log, counts for nothing, and stays so
    JOINING = "joining"  # a learner that the leader makes a voter once it has caught up (thesis 4.2.1)


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One member and where it is reached; the address is agreed on, so that a restarted member knows its peers."""

    id: MemberId
    address: str
    standing: Standing = Standing.VOTER


class Membership(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """All members, ordered by id."""

    members: tuple[Member, ...] = ()

    def find(self, member: MemberId) -> Member | None:
        return next((one for one in self.members if one.id == member), None)

    @property
    def voters(self) -> tuple[MemberId, ...]:
        return tuple(one.id for one in self.members if one.standing is Standing.VOTER)

    def with_member(self, member: Member) -> "Membership":
        others = [one for one in self.members if one.id != member.id]
        return Membership(members=tuple(sorted([*others, member], key=lambda one: one.id)))

    def without(self, member: MemberId) -> "Membership":
        return Membership(members=tuple(one for one in self.members if one.id != member))


class Add(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="add"):
    """A new member, as a learner that stays one or that is promoted once it has caught up."""

    id: MemberId
    address: str
    promote: bool = False


class Promote(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="promote"):
    """Make a learner a voter: at once if it has caught up, else as soon as it has."""

    id: MemberId


class Demote(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="demote"):
    """Make a voter a learner."""

    id: MemberId


class Remove(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="remove"):
    """Take a member out altogether."""

    id: MemberId


class Readdress(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="readdress"):
    """The same member, reached elsewhere."""

    id: MemberId
    address: str


Change = Add | Promote | Demote | Remove | Readdress


class Unsuitable(Exception):
    """The change makes no sense for this membership; the text says what to do instead."""


def changed(now: Membership, change: Change, *, caught_up: bool) -> Membership:
    """The membership after `change`; at most one voter more or less, so old and new majorities overlap (thesis 4.1)."""
    member = now.find(change.id)
    match change:
        case Add(address=address, promote=promote):
            if member is not None:
                raise Unsuitable(f"member {change.id} is already there, at {member.address}")
            standing = Standing.JOINING if promote else Standing.LEARNER
            return now.with_member(Member(id=change.id, address=address, standing=standing))
        case Promote():
            standing = Standing.VOTER if caught_up else Standing.JOINING
            return _with_standing(now, change.id, standing)
        case Demote():
            _refuse_losing_the_last_voter(now, change.id)
            return _with_standing(now, change.id, Standing.LEARNER)
        case Remove():
            _known(now, change.id)
            _refuse_losing_the_last_voter(now, change.id)
            return now.without(change.id)
        case Readdress(address=address):
            return now.with_member(msgspec.structs.replace(_known(now, change.id), address=address))
        case _:
            assert_never(change)


def _known(now: Membership, member: MemberId) -> Member:
    found = now.find(member)
    if found is None:
        raise Unsuitable(f"member {member} is not part of this cluster")
    return found


def _with_standing(now: Membership, member: MemberId, standing: Standing) -> Membership:
    found = _known(now, member)
    if standing is Standing.JOINING and found.standing is Standing.VOTER:
        return now
    return now.with_member(msgspec.structs.replace(found, standing=standing))


def _refuse_losing_the_last_voter(now: Membership, member: MemberId) -> None:
    if now.voters == (member,):
        raise Unsuitable(f"member {member} is the only voter; add and promote another one first")
