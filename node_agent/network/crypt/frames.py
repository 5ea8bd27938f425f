"""Ethernet frames as a TAP device gives and takes them: behind ten bytes on what the kernel left undone (checksum, cutting). Pure."""

import struct

VNET = 10
"""struct virtio_net_hdr, little-endian: travels with the frame, so that checksums stay unmade and 64 KiB uncut on both ends."""
_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_TYPE = 0x0806
_IPV4_REQUEST = (1, 0x0800, 6, 4, 1)
SHORTEST = VNET + _ETHERNET.size


def destination(frame: memoryview) -> bytes:
    return bytes(frame[VNET : VNET + 6])


def is_multicast(mac: bytes) -> bool:
    return bool(mac[0] & 1)


def asked_address(frame: memoryview) -> bytes:
    """The IPv4 address whose hardware address is asked for; empty if this is no such question."""
    if len(frame) < SHORTEST + _ARP.size or _ETHERNET.unpack_from(frame, VNET)[2] != _ARP_TYPE:
        return b""
    *head, _, asker, _, asked = _ARP.unpack_from(frame, SHORTEST)
    return asked if tuple(head) == _IPV4_REQUEST and asked != asker else b""


def arp_answer(question: memoryview, mac: bytes) -> bytes:
    """`mac` has the address that was asked for."""
    *_, asker_mac, asker, _, asked = _ARP.unpack_from(question, SHORTEST)
    ethernet = _ETHERNET.pack(asker_mac, mac, _ARP_TYPE)
    return bytes(VNET) + ethernet + _ARP.pack(1, 0x0800, 6, 4, 2, mac, asked, asker_mac, asker)
