"""Whether a loop comes round. Its rounds are marked as they begin and end; whoever supervises it looks now and then and counts how often
it has met the same one: looks, not seconds, so that a process that was stopped for a while wakes up to no false alarm.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Rounds:
    """A loop's rounds. While none is open the loop waits for something to do, for as long as it likes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._number = 0
        self._is_open = False
        self._seen = 0
        self._looks = 0

    @contextmanager
    def round(self) -> Iterator[None]:
        """The block is one round, ended by whatever way out of it."""
        self._number += 1
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def look(self) -> int:
        """How many looks in a row, this one included, have met the round that is open; 0 while none is."""
        if not self._is_open:
            self._looks = 0
        elif self._seen == self._number:
            self._looks += 1
        else:
            self._seen, self._looks = self._number, 1
        return self._looks
