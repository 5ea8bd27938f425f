"""Rounds of faults on the managers of a real cluster, drawn from a seed: which, of whom, when and for how long; and the doing of it."""

import enum
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import NamedTuple, assert_never

from integration.clients import Clients
from integration.cluster_rig import Cluster, Daemon, wait_until
from integration.witness import ask


class Fault(enum.Enum):
    """What happens to the victims of a round."""

    KILL = "kill -9"
    RESTART = "restart"
    PAUSE = "pause"
    CUT_OFF = "cut off"
    MUTE = "not heard by the others"
    DEAF = "hears none of the others"


class Victims(enum.Enum):
    """Who: found when it happens, as it depends on who leads then."""

    LEADER = "the leader"
    FOLLOWER = "a follower"
    MINORITY = "a minority, the leader in it"
    ALL = "all"


class Round(NamedTuple):
    fault: Fault
    victims: Victims
    after: float
    """Seconds of writing before."""
    lasts: float
    seed: int
    """Draws which of the followers."""


def plan(seed: int, rounds: int) -> Sequence[Round]:
    """The same rounds for the same seed. Each fault comes once before any comes again. Pure."""
    rng = Random(seed)
    drawn: list[Fault] = []
    planned = []
    for _ in range(rounds):
        drawn = drawn or rng.sample(list(Fault), len(Fault))
        fault = drawn.pop()
        everybody = (Victims.ALL,) if fault in {Fault.KILL, Fault.PAUSE} else ()
        victims = rng.choice((Victims.LEADER, Victims.LEADER, Victims.FOLLOWER, Victims.MINORITY, *everybody))
        planned.append(Round(fault, victims, rng.uniform(0.5, 1.5), rng.uniform(0.5, 4.0), rng.getrandbits(32)))
    return planned


def find(victims: Victims, managers: Sequence[Daemon], leader: Daemon, rng: Random) -> Sequence[Daemon]:
    followers = [daemon for daemon in managers if daemon is not leader]
    match victims:
        case Victims.LEADER:
            return (leader,)
        case Victims.FOLLOWER:
            return (rng.choice(followers),)
        case Victims.MINORITY:
            return (leader, *rng.sample(followers, (len(managers) - 1) // 2 - 1))
        case Victims.ALL:
            return managers
        case _:
            assert_never(victims)


@contextmanager
def suffering(cluster: Cluster, fault: Fault, victims: Sequence[Daemon], others: Sequence[Daemon]) -> Iterator[None]:
    """The fault lasts as long as the block."""
    match fault:
        case Fault.KILL | Fault.RESTART:
            for victim in victims:
                victim.kill() if fault is Fault.KILL else victim.stop()
            yield
            for victim in victims:
                victim.start(wait=False)
            for victim in victims:
                victim.wait_ready()
        case Fault.PAUSE:
            for victim in victims:
                victim.pause()
            yield
            for victim in victims:
                victim.go_on()
        case Fault.CUT_OFF | Fault.MUTE | Fault.DEAF:
            for sender, receiver in _cuts(fault, victims, others):
                cluster.lab.cut(sender.name, receiver.name)
            yield
            cluster.lab.heal()
        case _:
            assert_never(fault)


def _cuts(fault: Fault, victims: Iterable[Daemon], others: Sequence[Daemon]) -> Iterator[tuple[Daemon, Daemon]]:
    """Who is not heard by whom any more."""
    for victim in victims:
        for other in others:
            if fault is not Fault.DEAF:
                yield victim, other
            if fault is not Fault.MUTE:
                yield other, victim


def carry_out(cluster: Cluster, managers: Sequence[Daemon], clients: Clients, planned: Sequence[Round]) -> None:
    """Every round ends when each manager takes writes again."""
    for number, one in enumerate(planned):
        clients.round = number
        time.sleep(one.after)
        leader = leading(managers)
        victims = find(one.victims, managers, leader, Random(one.seed))
        others = [daemon for daemon in managers if daemon not in victims]
        begun, count = time.monotonic(), len(clients.moments)
        with suffering(cluster, one.fault, victims, others):
            time.sleep(one.lasts)
        ended = time.monotonic()
        for daemon in managers:
            wait_until(_writes(daemon, f"round-{number}-{daemon.name}"), what=f"{daemon.name} takes writes after round {number}: {one}")
        names = ", ".join(f"{daemon.name}{' (leader)' if daemon is leader else ''}" for daemon in victims)
        print(
            f"round {number}: {one.fault.value} of {names} for {one.lasts:.1f} s; whole {time.monotonic() - ended:.2f} s later; "
            f"{len(clients.moments) - count} answers, longest gap {clients.longest_gap(begun):.2f} s",
            flush=True,
        )


def leading(managers: Sequence[Daemon]) -> Daemon:
    """Who leads by its own word."""

    def leads() -> Daemon | None:
        return next((daemon for daemon in managers if "shoal_raft_is_leader 1.0" in ask(daemon, "GET", "/metrics").body), None)

    found: Daemon = wait_until(leads, what="there is a leader")
    return found


def _writes(daemon: Daemon, name: str) -> Callable[[], bool]:
    return lambda: ask(daemon, "POST", "/configs/create", {"Name": name, "Data": "eA=="}).status in {201, 409}
