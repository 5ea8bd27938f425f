"""Listens at published ports, and where other nodes relay to, and has what comes carried on. The companion's whole state."""

import asyncio
import errno
import socket
from collections.abc import Iterable, Mapping
from random import Random

from cluster.aio.clock import Clock
from cluster.aio.supervise import background
from node_agent.network.balance import header
from node_agent.network.balance.datagrams import Datagram, Datagrams
from node_agent.network.balance.header import Request
from node_agent.network.balance.plan import BalancePlan, Report
from node_agent.network.balance.ways import Ways
from node_agent.network.connections import bound_to
from node_agent.network.holding import bind, holders
from node_agent.network.ingress import Port
from node_agent.network.relay import Client, Relay, Target

BACKLOG = 4096
SWEEP_SECONDS = 10.0
_GREETING_SECONDS = 5.0
_ANY_V6 = "::"
_KINDS = ("tcp", "udp")


class Balancer:
    """`run` it; `hold` says what is to be served."""

    def __init__(self, clock: Clock, rng: Random, *, most: int) -> None:
        """`most`: connections at a time."""
        self._clock = clock
        self._ways = Ways(clock, rng)
        self._relay: Relay[Port] = Relay(None, self._choose, most=most, lost=self._ways.lost)
        self._datagrams: Datagrams[Port] = Datagrams(self._read, self._ways.targets, clock)
        self._listening: dict[Port, socket.socket] = {}

    async def run(self) -> None:
        """Until cancelled; what is carried ends with it."""
        try:
            async with background(self._relay.run, self._sweep):
                await asyncio.get_running_loop().create_future()
        finally:
            self._serve({})

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            self._datagrams.sweep()

    # -- what is listened at -----------------------------------------------------------------------------------------------------------
    def hold(self, plan: BalancePlan) -> Report:
        """Exactly this from now on; what is open goes on. Ports that could not be had are tried anew each time."""
        self._ways.take(plan)
        refused: dict[Port, str] = {}
        wanted = {*_relays(plan), *(key for port in plan.published for key in _keys(port.key))}
        kept = {key: bound for key, bound in self._listening.items() if key in wanted}
        self._serve(kept)  # closes the others: their ports may be wanted in another way now
        for key in sorted(wanted - kept.keys()):
            if (key[0], "", key[2]) in refused:  # whose it is by IPv4, it is by IPv6
                continue
            try:
                kept[key] = _listen(key)
            except OSError as problem:
                if key[1] != _ANY_V6:  # no IPv6 here, or the port is somebody's there alone
                    refused[key] = _why_not(key, problem)
        self._serve(kept)
        relays = "; ".join(
            f"{number}/{protocol}: {refused.pop(key)}" for key in _relays(plan) if key in refused for protocol, _, number in [key]
        )
        return Report(taken=tuple(sorted(refused.items())), relay=relays)

    def _serve(self, sockets: Mapping[Port, socket.socket]) -> None:
        self._listening = dict(sockets)
        self._relay.serve({key: bound for key, bound in sockets.items() if key[0] == "tcp"})
        self._datagrams.serve({key: bound for key, bound in sockets.items() if key[0] == "udp"})

    # -- what is wanted ----------------------------------------------------------------------------------------------------------------
    async def _choose(self, key: Port, connection: socket.socket, client: Client) -> list[Target]:
        if key not in _relays(self._ways.plan):
            return self._ways.targets(self._asked(key, client))
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                return self._ways.targets(self._ways.relayed(await _greeted(connection), client[0]))
        except ValueError:
            return []

    def _read(self, key: Port, content: bytes, client: Client) -> Datagram:
        if key not in _relays(self._ways.plan):
            return Datagram(self._asked(key, client), content)
        request = self._ways.relayed(header.parse(content), client[0])
        return Datagram(request, content[header.FIXED + header.length(content) :])

    def _asked(self, key: Port, client: Client) -> Request:
        protocol, host_ip, number = key
        return self._ways.asked((protocol, "" if host_ip == _ANY_V6 else host_ip, number), *client)


async def _greeted(connection: socket.socket) -> Request:
    """Raises ValueError, OSError."""
    fixed = await _exactly(connection, header.FIXED)
    return header.parse(fixed + await _exactly(connection, header.length(fixed)))


async def _exactly(connection: socket.socket, count: int) -> bytes:
    heard = b""
    while len(heard) < count:
        more = await asyncio.get_running_loop().sock_recv(connection, count - len(heard))
        if not more:
            raise ValueError("it ended before it had said for whom it comes")
        heard += more
    return heard


def _relays(plan: BalancePlan) -> tuple[Port, ...]:
    """Where other nodes relay to: at the data path address, so that a service may publish the same port at others."""
    return tuple((protocol, plan.me, plan.port) for protocol in _KINDS) if plan.relays else ()


def _keys(port: Port) -> Iterable[Port]:
    protocol, host_ip, number = port
    if protocol in _KINDS:
        yield port
    if protocol == "tcp" and not host_ip:
        yield protocol, _ANY_V6, number


def _listen(key: Port) -> socket.socket:
    protocol, host_ip, number = key
    family = socket.AF_INET6 if host_ip == _ANY_V6 else socket.AF_INET
    made = bind(family, protocol, "" if host_ip == _ANY_V6 else host_ip, number)
    try:
        if protocol == "tcp":
            made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _why_not(key: Port, problem: OSError) -> str:
    protocol, host_ip, number = key
    if problem.errno != errno.EADDRINUSE:
        return problem.strerror or str(problem)
    others = bound_to(protocol, number)
    return holders([one for one in others if not host_ip or one.address in ("0.0.0.0", "::", host_ip)])
