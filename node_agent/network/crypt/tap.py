"""TAP devices: made to stay without a process, and opened by the one that serves them."""

import fcntl
import os
import struct

_DEVICE = "/dev/net/tun"
_SET_DEVICE, _SET_STAY, _SET_OFFLOADS, _SET_HEADER_SIZE, _SET_LITTLE_ENDIAN = 0x400454CA, 0x400454CB, 0x400454D0, 0x400454D8, 0x400454DC
_TAP, _NO_EXTRA, _VNET_HEADER = 0x0002, 0x1000, 0x4000
_CHECKSUM, _TCP4, _TCP6, _TCP_ECN = 0x01, 0x02, 0x04, 0x08
_HEADER_SIZE = 10


def why_not() -> str:
    """Why TAP devices cannot be used on this host; empty when they can."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as problem:
        return f"{_DEVICE}: {problem.strerror} (modprobe tun)"
    return ""


def make(name: str) -> None:
    """A device of that name that stays; fine if it is there. Raises OSError."""
    descriptor = attach(name)
    try:
        fcntl.ioctl(descriptor, _SET_STAY, 1)
    finally:
        os.close(descriptor)


def attach(name: str) -> int:
    """A descriptor to read and write its frames, without blocking. Raises OSError when another process has it."""
    descriptor = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _SET_DEVICE, struct.pack("16sH22x", name.encode(), _TAP | _NO_EXTRA | _VNET_HEADER))
        fcntl.ioctl(descriptor, _SET_HEADER_SIZE, struct.pack("i", _HEADER_SIZE))
        fcntl.ioctl(descriptor, _SET_LITTLE_ENDIAN, struct.pack("i", 1))
        fcntl.ioctl(descriptor, _SET_OFFLOADS, _CHECKSUM | _TCP4 | _TCP6 | _TCP_ECN)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
