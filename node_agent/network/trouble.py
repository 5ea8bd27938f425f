"""What goes wrong on this host, said once each: in the log, and to whoever tells the cluster."""

import logging
from collections.abc import Callable, Iterable

from node_agent.network.ingress import Holding
from node_agent.network.parts import Part

log = logging.getLogger(__name__)


def held_ports(parts: Iterable[Part], holding: Holding) -> tuple[str, ...]:
    """The published ports that somebody else has here, with their service and who it is. Pure."""
    if not holding.taken:
        return ()
    owners = {port.key: part.service for part in parts for port in part.published}
    return tuple(
        f"port {number}/{protocol} of service {owners.get((protocol, address, number), '?')} is not served here: {who} has it"
        for (protocol, address, number), who in sorted(holding.taken.items())
    )


def homeless(address: str) -> str:
    """What other nodes send to this one's tasks is lost: the host has not got the address that they were told."""
    return (
        f"other nodes do not reach the tasks here: {address} is no address of this host any more; give it back, "
        f"or stop the daemon and tell the new one: shoald rejoin --advertise-addr ADDRESS"
    )


class Trouble:
    """`on_trouble` is told what users of the cluster should know is wrong on this host."""

    def __init__(self, on_trouble: Callable[[tuple[str, ...]], None]) -> None:
        self._on_trouble = on_trouble
        self._told: tuple[str, ...] = ()
        self._said: set[str] = set()

    def say(self, problems: set[str]) -> None:
        """Into the log: what is new since the last round."""
        for problem in sorted(problems - self._said):
            log.warning("data plane: %s", problem)
        self._said = problems

    def tell(self, trouble: tuple[str, ...]) -> None:
        """To the cluster, and what is new of it into the log."""
        if trouble == self._told:
            return
        for one in sorted(set(trouble) - set(self._told)):
            log.warning("data plane: %s", one)
        self._told = trouble
        self._on_trouble(trouble)
