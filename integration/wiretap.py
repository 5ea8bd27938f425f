"""What passes on a lab's switch, and what somebody there could send: frames as they are, seen by a packet socket."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

from integration.netlab import Lab

_ALL = 0x0003
_IP_START = 14
_UDP = 17


class Wiretap:
    """Records every frame on the switch while its block runs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        with lab.on_the_wire():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        self._socket.settimeout(0.1)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._record, name="wiretap")
        self.frames: list[bytes] = []

    def __enter__(self) -> "Wiretap":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _record(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                self.frames.append(self._socket.recv(1 << 17))

    def saw(self, text: bytes) -> int:
        """In how many frames it was."""
        return sum(text in frame for frame in list(self.frames))

    def datagrams(self, *, to: str, port: int) -> list[bytes]:
        """Whole frames with a UDP datagram to there, each once though both ends of the switch see it."""
        wanted = socket.inet_aton(to)
        found = (f for f in list(self.frames) if f[12:14] == b"\x08\x00" and f[23] == _UDP and f[30:34] == wanted)
        return list(dict.fromkeys(frame for frame in found if int.from_bytes(frame[36:38], "big") == port))


def put_on_the_wire(lab: Lab, frame: bytes, *, towards: str) -> None:
    """As somebody between the hosts could. The datagram's checksum may not have been made yet where it was seen: it says none."""
    with lab.on_the_wire():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with made:
        made.bind((lab.port(towards), 0))
        made.send(frame[:40] + b"\0\0" + frame[42:])
