"""The loop between the devices of encrypted networks and the underlay: everything that touches a descriptor.

What the kernel can do for many packets at once it does: a frame read may be 64 KiB of TCP not yet cut up, one call sends up to
forty-four packets (UDP_SEGMENT), one receives as many (UDP_GRO). So the work a byte is the sealing, and not the calls.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from cluster.api.ids import Id
from node_agent.network.crypt import frames
from node_agent.network.crypt.packets import HEADER, OVERHEAD, Dropped
from node_agent.network.crypt.peering import Peering
from node_agent.network.crypt.peers import Peers
from node_agent.network.crypt.plan import UDP_HEADERS, CryptPlan, EncryptedNetwork, Report
from node_agent.network.crypt.tap import attach
from node_agent.network.naming import mac_of

GREET_SECONDS = 1.0
_AT_ONCE = 64
"""Frames or packets taken before others get their turn."""
_LARGEST = 1 << 17
_MOST_SENT = 65_000
_SOCKET_BYTES = 4 << 20
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_MTU_DISCOVER, _BY_INTERFACE = 10, 4
_RECEIVE_FORCE, _SEND_FORCE = 33, 32
_VNI = struct.Struct("!I")
_NO_SEGMENTS = (errno.EIO, errno.EINVAL, errno.ENOPROTOOPT)


class _Device:
    """A network's TAP device."""

    def __init__(self, network: EncryptedNetwork) -> None:
        self.network = network
        socket.if_nametoindex(network.device)  # or attaching makes one that no bridge has
        self.descriptor = attach(network.device)
        self.behind: dict[bytes, Peering] = {}
        """Hardware address -> who has it."""
        self.addresses: dict[bytes, bytes] = {}
        """Address -> hardware address."""
        self.buffer = memoryview(bytearray(_VNI.size + _LARGEST))
        _VNI.pack_into(self.buffer, 0, network.vni)

    def lead(self, network: EncryptedNetwork, peers: Mapping[str, Peering]) -> None:
        """Its addresses are with these peers now."""
        self.network = network
        macs = {address: bytes.fromhex(mac_of(address).replace(":", "")) for address in network.entries}
        self.addresses = {IPv4Address(address).packed: mac for address, mac in macs.items()}
        self.behind = {macs[address]: peers[node] for address, node in network.entries.items() if node in peers}


class Tunnel:
    """Use as `async with Tunnel(...)`; `hold` gives it a plan."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._devices: dict[int, _Device] = {}
        """By the network's number."""
        self._refused: dict[Id, str] = {}
        self._socket: socket.socket | None = None
        self._bound: tuple[str, int] = ("", 0)
        self._room = 0
        self._segments = True
        self._greeting: asyncio.TimerHandle | None = None
        self._incoming = memoryview(bytearray(_LARGEST))
        self._sealed = self._opened = 0

    async def __aenter__(self) -> "Tunnel":
        return self

    async def __aexit__(self, *_: object) -> None:
        for device in list(self._devices.values()):
            self._close(device)
        if self._greeting is not None:
            self._greeting.cancel()
        self._unbind()

    # -- the plan ----------------------------------------------------------------------------------------------------------------------
    def hold(self, plan: CryptPlan) -> Report:
        self._room = plan.mtu - UDP_HEADERS - OVERHEAD
        self._peers.hold(plan.me, plan.peers, plan.keys)
        self._refused = {}
        trouble = self._bind(plan.me.address, plan.port)
        wanted = {network.vni: network for network in plan.networks}
        for vni, device in list(self._devices.items()):
            if vni not in wanted or wanted[vni].device != device.network.device:
                self._close(device)
        for vni, network in wanted.items():
            if problem := trouble or self._open(vni, network):
                self._refused[network.network_id] = problem
        self._greet()
        return self.report()

    def _open(self, vni: int, network: EncryptedNetwork) -> str:
        try:
            if vni not in self._devices:
                self._devices[vni] = _Device(network)
                self._loop.add_reader(self._devices[vni].descriptor, self._from_device, self._devices[vni])
        except OSError as problem:
            return f"device {network.device}: {problem.strerror or problem}"
        self._devices[vni].lead(network, self._peers.by_address)
        return ""

    def _close(self, device: _Device) -> None:
        del self._devices[device.network.vni]
        self._loop.remove_reader(device.descriptor)
        os.close(device.descriptor)

    def _bind(self, address: str, port: int) -> str:
        if self._socket is not None and self._bound == (address, port):
            return ""
        self._unbind()
        try:
            self._socket = _bound(address, port)
        except OSError as problem:
            return f"cannot take packets at {address}:{port}/udp: {problem.strerror or problem}"
        self._bound = (address, port)
        self._loop.add_reader(self._socket, self._from_underlay)
        return ""

    def _unbind(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def report(self) -> Report:
        return Report(
            refused=self._refused,
            silent=tuple(sorted({peering.peer.node_id for peering in self._met() if not peering.is_met})),
            keys=self._peers.keys,
            counts={"sealed": self._sealed, "opened": self._opened, **self._peers.dropped},
        )

    def _met(self) -> Sequence[Peering]:
        return [peering for device in self._devices.values() for peering in device.behind.values()]

    def _greet(self) -> None:
        """Those that are needed and were not met, again and again until they were."""
        if self._greeting is not None:
            self._greeting.cancel()
        self._greeting = self._loop.call_later(GREET_SECONDS, self._greet)
        self._answer(self._peers.greetings({peering.peer.address for peering in self._met()}, self._loop.time()))

    # -- out ---------------------------------------------------------------------------------------------------------------------------
    def _from_device(self, device: _Device) -> None:
        room, buffer, behind = self._room, device.buffer, device.behind
        into = [buffer[_VNI.size :]]
        for _ in range(_AT_ONCE):
            try:
                size = _VNI.size + os.readv(device.descriptor, into)
            except BlockingIOError:
                return
            except OSError:  # the device was taken away: the daemon sees it, makes it anew and says so
                self._close(device)
                return
            frame = buffer[_VNI.size : size]
            if len(frame) < frames.SHORTEST:
                continue
            peering = behind.get(frames.destination(frame))
            if peering is None:
                self._unled(device, frame)
                continue
            try:
                packets = peering.seal(buffer[:size], room)
            except Dropped as why:
                self._peers.dropped[str(why)] += 1
                continue
            self._sealed += 1
            self._send(packets, room + OVERHEAD, peering.peer.address)

    def _unled(self, device: _Device, frame: memoryview) -> None:
        """Nobody's, or a question that is answered here: it never leaves the node."""
        if asked := frames.asked_address(frame):
            if (mac := device.addresses.get(asked)) is not None:
                self._deliver(device, frames.arp_answer(frame, mac))
        elif not frames.is_multicast(frames.destination(frame)):
            self._peers.dropped["unknown destination"] += 1

    def _send(self, packets: bytearray, size: int, address: str) -> None:
        """Each of `size`, the last maybe shorter."""
        if self._socket is None:
            return
        to, view = (address, self._bound[1]), memoryview(packets)
        try:
            if len(packets) <= size:
                self._socket.sendto(packets, to)
            elif self._segments:
                step = _MOST_SENT // size * size
                mark = [(_SOL_UDP, _UDP_SEGMENT, struct.pack("=H", size))]
                for start in range(0, len(packets), step):
                    self._socket.sendmsg([view[start : start + step]], mark, 0, to)
            else:
                for start in range(0, len(packets), size):
                    self._socket.sendto(view[start : start + size], to)
        except BlockingIOError:
            self._peers.dropped["congested"] += 1
        except OSError as problem:
            if self._segments and len(packets) > size and problem.errno in _NO_SEGMENTS:
                self._segments = False  # an interface that does not make checksums: one by one, from the next frame on
            self._peers.dropped[os.strerror(problem.errno or 0).lower()] += 1

    # -- in ----------------------------------------------------------------------------------------------------------------------------
    def _from_underlay(self) -> None:
        into, at = self._incoming, self._loop.time()
        for _ in range(_AT_ONCE):
            if self._socket is None:
                return
            try:
                size, notes, _, _ = self._socket.recvmsg_into([into], 64)
            except BlockingIOError:
                return
            except OSError:  # an earlier packet was refused somewhere on the way
                continue
            each = next((int.from_bytes(note, "little") for level, kind, note in notes if (level, kind) == (_SOL_UDP, _UDP_GRO)), size)
            opened, answers = self._peers.open(into[:size], max(each, HEADER.size), at)
            for content in opened:
                device = self._devices.get(_VNI.unpack_from(content)[0]) if len(content) >= _VNI.size + frames.SHORTEST else None
                if device is None:
                    self._peers.dropped["unknown network"] += 1
                    continue
                self._opened += 1
                self._deliver(device, memoryview(content)[_VNI.size :])
            self._answer(answers)

    def _deliver(self, device: _Device, frame: bytes | memoryview) -> None:
        try:
            os.write(device.descriptor, frame)
        except OSError as problem:
            self._peers.dropped[f"not delivered: {os.strerror(problem.errno or 0).lower()}"] += 1

    def _answer(self, greetings: Sequence[tuple[bytes, Peering]]) -> None:
        for greeting, peering in greetings:
            if self._socket is not None:
                with suppress(OSError):  # no way there now: it is greeted again
                    self._socket.sendto(greeting, (peering.peer.address, self._bound[1]))


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        for option in (_RECEIVE_FORCE, _SEND_FORCE):
            made.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        made.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _BY_INTERFACE)
        with suppress(OSError):  # a kernel before 5.0: packets come one by one
            made.setsockopt(_SOL_UDP, _UDP_GRO, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
