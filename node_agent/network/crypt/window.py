"""Which packets of a sender were seen already: the anti-replay window of RFC 4303, 3.4.3, kept as RFC 6479 does, without shifting. Pure."""

SIZE = 8192
"""How far behind the newest a packet may come. Bursts take other ways through a network's queues; a megabyte is seven hundred packets."""


class ReplayWindow:
    """Packets are numbered from 1. One byte a number, used in turns: what falls out of the window makes room for what comes."""

    __slots__ = ("_seen", "top")

    def __init__(self) -> None:
        self.top = 0
        self._seen = bytearray(SIZE)

    def is_fresh(self, number: int) -> bool:
        """Whether it may be taken: ahead of all, or within the window and not seen yet."""
        top = self.top
        return number > top or (number > top - SIZE and number > 0 and not self._seen[number % SIZE])

    def accept(self, number: int) -> None:
        """It was fresh and is genuine: it is not fresh any more. Only what was authenticated may get here, or anyone moves the window."""
        top, seen = self.top, self._seen
        if number > top:
            if number - top >= SIZE:
                self._seen = seen = bytearray(SIZE)
            else:
                for skipped in range(top + 1, number):
                    seen[skipped % SIZE] = 0
            self.top = number
        seen[number % SIZE] = 1
