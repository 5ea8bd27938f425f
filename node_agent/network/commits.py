"""Hears of every nftables transaction in the node's namespace, so that what somebody else flushed is back at once and not at the next look.

Without the right to listen there is nothing to hear, and the look every few seconds has to do.
"""

import asyncio
import errno
import socket
import struct
from contextlib import suppress
from pathlib import Path

from node_agent.network.netlink import attributes
from node_agent.network.netns import inside
from node_agent.network.nft import NETFILTER

_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP = 270, 1, 7
_NEW_GENERATION = 0x0A0F  # NFT_MSG_NEWGEN of the nf_tables subsystem
_COMMITTER = 2
_HEADER = struct.Struct("=IHHII")


def committers(packet: bytes) -> list[int]:
    """The threads that committed the transactions which the packet tells of; 0 for one that is not named."""
    found, at = [], 0
    while at + _HEADER.size <= len(packet):
        length, kind, *_ = _HEADER.unpack_from(packet, at)
        if kind == _NEW_GENERATION:
            named = attributes(packet[at : at + length], _HEADER.size + 4).get(_COMMITTER, b"\0\0\0\0")
            found.append(int.from_bytes(named, "big"))
        at += max(_HEADER.size, (length + 3) & ~3)
    return found


class Commits:
    """Listens from when it is made."""

    def __init__(self, namespace: Path | None) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETFILTER)
        self._socket.bind((0, 0))
        with suppress(PermissionError):
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)

    async def wait_foreign(self) -> None:
        """Until another process has committed something; what was committed since the last call counts."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._socket, 1 << 17)
            except OSError as lost:
                if lost.errno != errno.ENOBUFS:  # more was said than there was room for: somebody did much
                    raise
                return
            if not all(_is_ours(thread) for thread in committers(packet)):
                return

    def close(self) -> None:
        self._socket.close()


def _is_ours(thread: int) -> bool:
    return Path(f"/proc/self/task/{thread}").exists()
