"""Linearizable reads without writing: the read index (thesis 6.4). No leases: clocks decide nothing here.

A leader remembers its commit index, asks a majority whether it still leads (the next heartbeat round), and then whoever has
applied that index may answer. A leader that has not committed in its term does not know the commit index yet and waits.
"""

from manager.raft.core import replication
from manager.raft.core.effects import ReadFailed, ReadReady
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import ReadReply, ReadRequest
from manager.raft.core.quorum import has_majority
from manager.raft.core.state import Leader, PendingRead, State


def ask(state: State, request: int) -> None:
    """A caller on this member wants to read."""
    if isinstance(state.role, Leader):
        _register(state, state.role, request, state.me)
    elif state.leader is not None:
        state.send(state.leader, ReadRequest(term=state.term, request=request))
    else:
        state.effects.append(ReadFailed(request=request))


def on_read_request(state: State, sender: MemberId, asked: ReadRequest) -> None:
    if isinstance(state.role, Leader):
        _register(state, state.role, asked.request, sender)


def on_read_reply(state: State, reply: ReadReply) -> None:
    state.effects.append(ReadReady(request=reply.request, index=reply.index))


def _register(state: State, role: Leader, request: int, asker: MemberId) -> None:
    if not state.has_settled:
        role.early_reads.append((request, asker))
        return
    # One round serves all reads of a step; it is asked in `confirm`, after the step's other events.
    role.reads.append(PendingRead(request=request, asker=asker, index=state.log.commit, round=role.round + 1))


def confirm(state: State, role: Leader) -> None:
    """At the end of a step: ask the round that new reads wait for, and answer those whose round has a majority."""
    if role.early_reads and state.has_settled:
        early, role.early_reads = role.early_reads, []
        for request, asker in early:
            _register(state, role, request, asker)
    if not role.reads:
        return
    if role.reads[-1].round > role.round:
        replication.beat(state, role)
    waiting = []
    for read in role.reads:
        if _is_confirmed(state, role, read.round):
            _answer(state, role, read)
        else:
            waiting.append(read)
    role.reads = waiting


def _is_confirmed(state: State, role: Leader, round_: int) -> bool:
    return has_majority(
        state.voters, lambda voter: voter == state.me or (voter in role.progress and role.progress[voter].acked_round >= round_)
    )


def _answer(state: State, role: Leader, read: PendingRead) -> None:
    if read.asker == state.me:
        state.effects.append(ReadReady(request=read.request, index=read.index))
    else:
        replication.hasten_commit(role, read.asker, index=read.index)
        state.send(read.asker, ReadReply(term=state.term, request=read.request, index=read.index))
