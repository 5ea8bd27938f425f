"""Who asks together again: those who were answered together most often do, and one batch of them costs less than two."""

PATIENCE = 2
"""Moments in a row in which nobody came, after which nobody is expected any more: those that were answered may still be reading."""


class Company:
    """How many to expect, learned from how many there were. Pure: whoever waits calls `look` once a moment."""

    def __init__(self) -> None:
        self._expected = 0
        self._were_there = 0
        self._idle_looks = 0

    @property
    def is_expected(self) -> bool:
        """More than one."""
        return self._expected > 1

    def is_there(self, waiting: int) -> bool:
        """All that were expected."""
        return waiting >= self._expected

    def answered(self, count: int, *, waiting: int) -> None:
        """So many were answered at once, while others have come: they are expected together. Nobody waits for one alone."""
        self._expected = count + waiting if count > 1 else 0
        self._were_there = waiting
        self._idle_looks = 0

    def look(self, waiting: int) -> None:
        """A moment has passed."""
        self._idle_looks = 0 if waiting > self._were_there else self._idle_looks + 1
        self._were_there = waiting
        if self._idle_looks >= PATIENCE:
            self.part()

    def part(self) -> None:
        """Nobody is expected any more."""
        self._expected = 0
