"""How long to wait before the next try: exponential, capped, with jitter from the caller's randomness."""

from random import Random


class Backoff:
    """`next()` gives 0.5..1.0 of a delay that doubles from `first` to `cap` seconds; `reset()` after a success."""

    def __init__(self, *, first: float, cap: float, rng: Random) -> None:
        self._first = first
        self._cap = cap
        self._rng = rng
        self._delay = first

    def next(self) -> float:
        delay = self._delay * (0.5 + self._rng.random() / 2)
        self._delay = min(self._delay * 2, self._cap)
        return delay

    def reset(self) -> None:
        self._delay = self._first
