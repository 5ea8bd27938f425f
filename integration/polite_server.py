"""The web server of the drain tests, one file for the standard library alone: it runs in an image that holds nothing else.

    python polite_server.py PORT [polite | rude | deaf]

`GET /?ms=30` is answered after 30 ms with the container's name. What SIGTERM means to it is the second argument:
polite answers what it has and says `Connection: close` from then on (as nginx can), and is gone when nobody is connected any more;
rude is gone at once; deaf goes on as if nothing had been said.
"""

import heapq
import select
import signal
import socket
import sys
import time

LINGER = 8.0
"""Seconds that a polite one waits for connections on which nothing is asked."""


class Connection:
    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.heard = b""
        self.waits = False


class Server:
    def __init__(self, port: int, manners: str) -> None:
        self._manners = manners
        self._listener = socket.create_server(("", port), backlog=512)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, Connection] = {}
        self._due: list[tuple[float, int]] = []
        self._told_at = 0.0
        signal.signal(signal.SIGTERM, self._told)
        self._waker, waking = socket.socketpair()
        self._waker.setblocking(False)
        waking.setblocking(False)
        signal.set_wakeup_fd(waking.fileno())
        self._poll.register(self._waker, select.EPOLLIN)
        self._waking = waking

    def _told(self, number: int, frame: object) -> None:
        del number, frame
        if self._manners == "rude":
            sys.exit(0)
        if self._manners == "polite":
            self._told_at = time.monotonic()

    def serve(self) -> None:
        while not self._is_done():
            for fileno, _ in self._poll.poll(self._patience()):
                if fileno == self._listener.fileno():
                    self._accept()
                elif fileno == self._waker.fileno():
                    self._waker.recv(100)
                else:
                    self._hear(fileno)
            while self._due and self._due[0][0] <= time.monotonic():
                self._answer(heapq.heappop(self._due)[1])

    def _is_done(self) -> bool:
        return bool(self._told_at) and (not self._open or time.monotonic() - self._told_at > LINGER)

    def _patience(self) -> float:
        return 0.5 if not self._due else max(0.0, min(0.5, self._due[0][0] - time.monotonic()))

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        self._open[client.fileno()] = Connection(client)
        self._poll.register(client, select.EPOLLIN)

    def _hear(self, fileno: int) -> None:
        connection = self._open[fileno]
        try:
            heard = connection.client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._close(fileno)
            return
        connection.heard += heard
        self._take_up(fileno)

    def _take_up(self, fileno: int) -> None:
        connection = self._open[fileno]
        request, found, rest = connection.heard.partition(b"\r\n\r\n")
        if not found or connection.waits:
            return
        connection.heard, connection.waits = rest, True
        _, _, after = request.partition(b"ms=")
        digits = after.split(b" ", 1)[0]
        heapq.heappush(self._due, (time.monotonic() + (int(digits) if digits.isdigit() else 0) / 1000, fileno))

    def _answer(self, fileno: int) -> None:
        connection = self._open.get(fileno)
        if connection is None or not connection.waits:
            return
        connection.waits = False
        body = socket.gethostname().encode()
        last = b"Connection: close\r\n" if self._told_at else b""
        try:
            connection.client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), last, body))
        except OSError:
            last = b"gone"
        if last:
            self._close(fileno)
        else:
            self._take_up(fileno)

    def _close(self, fileno: int) -> None:
        connection = self._open.pop(fileno)
        self._poll.unregister(fileno)
        connection.client.close()


if __name__ == "__main__":
    Server(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "polite").serve()
