"""The control API: what it answers is committed, and what met a change on the way is decided again."""

from collections.abc import Sequence

import pytest

from cluster.aio.clock import ManualClock
from cluster.api.changes import Change, Put
from cluster.api.commands import (
    Command,
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    RemoveConfig,
    RemoveNetwork,
    RemoveSecret,
    RemoveService,
)
from cluster.api.contracts import Caller
from cluster.api.errors import Conflict, InvalidArgument, NoLeader, StaleSnapshot, Unavailable
from cluster.api.objects import Secret, Service
from cluster.api.specs import ConfigSpec, ContainerSpec, FileTarget, NetworkSpec, SecretReference, SecretSpec, ServiceSpec, TaskSpec
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


async def test_a_leader_that_was_replaced_refuses_nothing_on_what_it_knew() -> None:
    """It was cut off while another leader let the name go; that it does not lead any more it learns from its next quorum."""
    store = Store()
    memory = MemoryProposer(store, ManualClock())
    elsewhere = Control(store=store, proposer=memory)
    await elsewhere.execute(ME, create("s1"))

    async def hear_of_the_removal() -> None:
        await elsewhere.execute(ME, RemoveService(id="s1"))

    replaced = Control(store=store, proposer=memory, catch_up=hear_of_the_removal)
    assert (await replaced.execute(ME, create("s2"))).id == "s2"


async def test_a_refusal_that_no_quorum_confirms_is_none() -> None:
    store = Store()
    control = Control(store=store, proposer=MemoryProposer(store, ManualClock()), catch_up=Alone().catch_up)
    with pytest.raises(NoLeader):
        await control.execute(ME, RemoveService(id="s1"))


class Alone:
    async def catch_up(self) -> None:
        raise NoLeader


@pytest.mark.parametrize(
    ("creation", "removal"),
    [
        (create("x"), RemoveService(id="x")),
        (CreateConfig(id="x", spec=ConfigSpec(name="x", data=b"x")), RemoveConfig(id="x")),
        (CreateSecret(id="x", spec=SecretSpec(name="x", data=b"x")), RemoveSecret(id="x")),
        (CreateNetwork(id="x", spec=NetworkSpec(name="x", driver="overlay")), RemoveNetwork(id="x")),
    ],
)
async def test_a_creation_that_is_asked_for_again_after_the_removal_is_not_done_again(creation: Command, removal: Command) -> None:
    store = Store()
    control = Control(store=store, proposer=MemoryProposer(store, ManualClock()))
    await control.execute(ME, creation)
    await control.execute(ME, removal)
    assert (await control.execute(ME, creation)).id == "x"
    now = store.snapshot
    assert not any((now.services, now.configs, now.secrets, now.networks))
