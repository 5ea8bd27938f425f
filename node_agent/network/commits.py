"""Hears of every nftables transaction in the node's namespace and of every interface of ours that goes, so that what somebody else
flushed or removed is back at once and not at the next look.

Without the right to listen there is nothing to hear, and the look every few seconds has to do.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cluster.aio.supervise import first_of
from node_agent.network.naming import BRIDGE_PREFIX, ENCRYPTED_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE, VXLAN_PREFIX
from node_agent.network.netlink import attributes
from node_agent.network.netns import inside
from node_agent.network.nft import NETFILTER

_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP = 270, 1, 7
_NEW_GENERATION = 0x0A0F  # NFT_MSG_NEWGEN of the nf_tables subsystem
_COMMITTER = 2
_LINK_GROUP = 1
_REMOVED_LINK = 17  # RTM_DELLINK
_IFINFO_BYTES, _IFNAME = 16, 3
_OURS = (BRIDGE_PREFIX, VXLAN_PREFIX, ENCRYPTED_PREFIX, GATEWAY_BRIDGE, LINK_DEVICE)
_HEADER = struct.Struct("=IHHII")


def committers(packet: bytes) -> list[int]:
    """The threads that committed the transactions which the packet tells of; 0 for one that is not named."""
    found = []
    for kind, message in _messages(packet):
        if kind == _NEW_GENERATION:
            named = attributes(message, _HEADER.size + 4).get(_COMMITTER, b"\0\0\0\0")
            found.append(int.from_bytes(named, "big"))
    return found


def removed(packet: bytes) -> list[str]:
    """The interfaces that went, or went from a bridge, by the packet's word."""
    gone = (message for kind, message in _messages(packet) if kind == _REMOVED_LINK)
    return [attributes(message, _HEADER.size + _IFINFO_BYTES).get(_IFNAME, b"").rstrip(b"\0").decode(errors="replace") for message in gone]


def _messages(packet: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(packet):
        length, kind, *_ = _HEADER.unpack_from(packet, at)
        yield kind, packet[at : at + length]
        at += max(_HEADER.size, (length + 3) & ~3)


class Commits:
    """Listens from when it is made."""

    def __init__(self, namespace: Path | None) -> None:
        with inside(namespace):
            self._tables = _listening(NETFILTER, _GROUP)
            self._links = _listening(socket.NETLINK_ROUTE, _LINK_GROUP)

    async def wait_foreign(self) -> None:
        """Until another process has committed something, or an interface of ours went; what was since the last call counts."""
        await first_of(
            lambda: _until(self._tables, lambda packet: not all(_is_ours(thread) for thread in committers(packet))),
            lambda: _until(self._links, lambda packet: any(name.startswith(_OURS) for name in removed(packet))),
        )

    def close(self) -> None:
        self._tables.close()
        self._links.close()


def _listening(family: int, group: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family)
    opened.bind((0, 0))
    with suppress(PermissionError):
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return opened


async def _until(heard: socket.socket, counts: Callable[[bytes], bool]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            packet = await loop.sock_recv(heard, 1 << 17)
        except OSError as lost:
            if lost.errno != errno.ENOBUFS:  # more was said than there was room for: somebody did much
                raise
            return
        if counts(packet):
            return


def _is_ours(thread: int) -> bool:
    return Path(f"/proc/self/task/{thread}").exists()
