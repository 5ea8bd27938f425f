"""The control API: what it answers is committed, and what met a change on the way is decided again."""

from collections.abc import Sequence

import pytest

from cluster.aio.clock import ManualClock
from cluster.api.changes import Change, Put
from cluster.api.commands import CreateService, RemoveSecret
from cluster.api.contracts import Caller
from cluster.api.errors import Conflict, InvalidArgument, StaleSnapshot, Unavailable
from cluster.api.objects import Secret, Service
from cluster.api.specs import ContainerSpec, FileTarget, SecretReference, SecretSpec, ServiceSpec, TaskSpec
from cluster.api.states import Role
from manager.controlapi.admit import admit
from manager.controlapi.control import TRIES, Control
from manager.store.memory import MemoryProposer
from manager.store.store import Store

ME = Caller(node_id="n1", role=Role.MANAGER)


def create(service_id: str, name: str = "web", secret: str = "") -> CreateService:
    secrets = (SecretReference(file=FileTarget(name="f"), secret_id=secret, secret_name=secret),) if secret else ()
    return CreateService(
        id=service_id, spec=ServiceSpec(name=name, task_template=TaskSpec(container_spec=ContainerSpec(image="i", secrets=secrets)))
    )


class Overtaken:
    """A proposer past which others' changes go first."""

    def __init__(self, store: Store, *first: Sequence[Change]) -> None:
        self._memory = MemoryProposer(store, ManualClock())
        self._first = list(first)
        self.tries = 0

    async def propose(self, changes: Sequence[Change]) -> int:
        self.tries += 1
        if self._first:
            await self._memory.propose(self._first.pop(0))
        return await self._memory.propose(changes)


async def test_an_outcome_is_what_the_store_holds() -> None:
    store = Store()
    control = Control(store=store, proposer=MemoryProposer(store, ManualClock()))
    outcome = await control.execute(ME, create("s1"))
    assert (outcome.id, outcome.version) == ("s1", store.snapshot.services["s1"].version)
    again = await control.execute(ME, create("s1"))
    assert again.id == "s1"
    assert len(store.snapshot.services) == 1


async def test_who_comes_second_is_told_the_real_reason() -> None:
    store = Store()
    rival = create("s2").spec
    from_elsewhere = [Put(object=Service(id="s2", spec=rival))]
    control = Control(store=store, proposer=Overtaken(store, from_elsewhere))
    with pytest.raises(Conflict, match="service web already exists"):
        await control.execute(ME, create("s1"))


async def test_a_secret_removed_meanwhile_is_missed() -> None:
    store = Store()
    memory = MemoryProposer(store, ManualClock())
    await memory.propose([Put(object=Secret(id="x", spec=SecretSpec(name="x")))])
    admission = admit(store.snapshot, RemoveSecret(id="x"))
    control = Control(store=store, proposer=Overtaken(store, admission.changes))
    with pytest.raises(InvalidArgument, match="secret not found: x"):
        await control.execute(ME, create("s1", secret="x"))


async def test_trying_again_has_an_end() -> None:
    class Never:
        tries = 0

        async def propose(self, changes: Sequence[Change]) -> int:
            self.tries += 1
            raise StaleSnapshot("somebody else was first")

    never = Never()
    with pytest.raises(Unavailable, match="somebody else was first"):
        await Control(store=Store(), proposer=never).execute(ME, create("s1"))
    assert never.tries == TRIES
