"""TLS for a `Wire`, without input or output: bytes of one kind in, of the other kind out.

asyncio's own TLS transport ends both directions when the peer ends one, which would lose the answer to `echo x | docker run -i`.
"""

import contextlib
import ssl


class TlsCodec:
    """One end of a TLS connection. `owed` is what has to be sent after each call, `finished` tells that the peer ended its direction."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool = True, server_hostname: str | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname)
        self._met = False  # the handshake is over
        self._early: list[bytes] = []  # what was to be sent before that
        self._ending = False
        self.finished = False
        self._shake_hands()

    def receive(self, ciphertext: bytes) -> bytes:
        """The plain bytes that these complete; raises `ssl.SSLError` where the peer is not acceptable."""
        self._incoming.write(ciphertext)
        if not self._met and not self._shake_hands():
            return b""
        plain = []
        try:
            while data := self._object.read(256 * 1024):
                plain.append(data)
            self.finished = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.finished = True
        return b"".join(plain)

    def send(self, plaintext: bytes) -> bytes:
        """The bytes that carry these; before the handshake is over, they wait for its end."""
        if not self._met:
            self._early.append(plaintext)
        else:
            self._write(plaintext)
        return self.owed()

    def finish(self) -> bytes:
        """The bytes that end our direction; before the handshake is over, that waits for its end too."""
        self._ending = True
        if self._met:
            self._say_farewell()
        return self.owed()

    def _say_farewell(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # it wants the peer's farewell, which may come much later
            self._object.unwrap()

    def owed(self) -> bytes:
        return self._outgoing.read()

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER), where it had to show one."""
        return self._object.getpeercert(binary_form=True) if self._met else None

    def _shake_hands(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._met = True
        for plaintext in self._early:
            self._write(plaintext)
        self._early.clear()
        if self._ending:
            self._say_farewell()
        return True

    def _write(self, plaintext: bytes) -> None:
        view = memoryview(plaintext)
        while view:
            view = view[self._object.write(view) :]
