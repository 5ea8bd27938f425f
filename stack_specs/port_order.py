"""The order in which docker sends a service's ports.

Docker sorts them by published port with Go's sort.Slice, which keeps the order of ports that are published alike only in short lists.
The order is part of the service's spec, and a spec that differs restarts tasks: a stack that was deployed by docker must not restart
when shoal deploys the same file. So this is that sort, pattern-defeating quicksort (Orson Peters, 2021) as Go 1.19 and later run it.
"""

from collections.abc import Sequence
from enum import Enum, auto

from stack_specs.ports import Port

_SHORT = 12
_NINTHER = 50
_ALL_SWAPPED = 12
_SHIFTS = 5
_MASK = 2**64 - 1


def in_docker_order(ports: Sequence[Port]) -> list[Port]:
    """The ports by published port; those that are published alike stand as docker's sort leaves them."""
    if len(ports) <= _SHORT or len({port.published for port in ports}) == len(ports):
        return sorted(ports, key=lambda port: port.published)
    sorting = _Sorting([port.published for port in ports])
    sorting.sort(0, len(ports), len(ports).bit_length())
    return [ports[index] for index in sorting.order]


class _Trend(Enum):
    UNKNOWN = auto()
    RISING = auto()
    FALLING = auto()


class _Sorting:
    """A list being sorted in place; `order` says where each item came from."""

    def __init__(self, keys: list[int]) -> None:
        self._keys = keys
        self.order = list(range(len(keys)))

    def sort(self, start: int, end: int, patience: int) -> None:
        """Sort the items from `start` up to `end`; with no patience left for bad pivots, by heap."""
        balanced = partitioned = True
        while end - start > _SHORT:
            if patience == 0:
                self._heap(start, end)
                return
            if not balanced:
                self._shake(start, end)
                patience -= 1
            pivot, trend = self._pivot(start, end)
            if trend is _Trend.FALLING:
                self._reverse(start, end)
                pivot, trend = end - 1 - (pivot - start), _Trend.RISING
            if balanced and partitioned and trend is _Trend.RISING and self._nearly_sorted(start, end):
                return
            if start > 0 and not self._less(start - 1, pivot):
                start = self._split_equal(start, end, pivot)
                continue
            middle, partitioned = self._split(start, end, pivot)
            left, right = middle - start, end - middle
            balanced = min(left, right) >= (end - start) // 8
            if left < right:
                self.sort(start, middle, patience)
                start = middle + 1
            else:
                self.sort(middle + 1, end, patience)
                end = middle
        self._insert(start, end)

    def _less(self, a: int, b: int) -> bool:
        return self._keys[a] < self._keys[b]

    def _swap(self, a: int, b: int) -> None:
        keys, order = self._keys, self.order
        keys[a], keys[b] = keys[b], keys[a]
        order[a], order[b] = order[b], order[a]

    def _insert(self, start: int, end: int) -> None:
        for last in range(start + 1, end):
            self._sink(last, start)

    def _sink(self, at: int, floor: int) -> None:
        """Move an item to the left until the one before it is not greater."""
        while at > floor and self._less(at, at - 1):
            self._swap(at, at - 1)
            at -= 1

    def _heap(self, start: int, end: int) -> None:
        size = end - start
        for root in range((size - 1) // 2, -1, -1):
            self._sift(root, size, start)
        for last in range(size - 1, -1, -1):
            self._swap(start, start + last)
            self._sift(0, last, start)

    def _sift(self, root: int, size: int, first: int) -> None:
        while (child := 2 * root + 1) < size:
            if child + 1 < size and self._less(first + child, first + child + 1):
                child += 1
            if not self._less(first + root, first + child):
                return
            self._swap(first + root, first + child)
            root = child

    def _shake(self, start: int, end: int) -> None:
        """Move three items from the middle elsewhere, always the same for one length."""
        length = end - start
        state, modulus = length, 1 << length.bit_length()
        middle = start + length // 4 * 2
        for at in (middle - 1, middle, middle + 1):
            state ^= state << 13 & _MASK
            state ^= state >> 7
            state ^= state << 17 & _MASK
            other = state & (modulus - 1)
            self._swap(at, start + (other - length if other >= length else other))

    def _pivot(self, start: int, end: int) -> tuple[int, _Trend]:
        quarter = (end - start) // 4
        low, middle, high = start + quarter, start + quarter * 2, start + quarter * 3
        swaps = 0
        if end - start >= _NINTHER:
            (low, first), (middle, second), (high, third) = (self._median(at - 1, at, at + 1) for at in (low, middle, high))
            swaps = first + second + third
        chosen, last = self._median(low, middle, high)
        swaps += last
        return chosen, _Trend.RISING if swaps == 0 else _Trend.FALLING if swaps == _ALL_SWAPPED else _Trend.UNKNOWN

    def _median(self, a: int, b: int, c: int) -> tuple[int, int]:
        """The place of the middle one of three items, and how many pairs were out of order on the way."""
        swaps = 0
        if self._less(b, a):
            a, b, swaps = b, a, swaps + 1
        if self._less(c, b):
            b, c, swaps = c, b, swaps + 1
        if self._less(b, a):
            a, b, swaps = b, a, swaps + 1
        return b, swaps

    def _reverse(self, start: int, end: int) -> None:
        for offset in range((end - start) // 2):
            self._swap(start + offset, end - 1 - offset)

    def _nearly_sorted(self, start: int, end: int) -> bool:
        """Sort by moving a few items, or give up; short lists are only looked at."""
        at = start + 1
        for _ in range(_SHIFTS):
            while at < end and not self._less(at, at - 1):
                at += 1
            if at == end:
                return True
            if end - start < _NINTHER:
                return False
            self._swap(at, at - 1)
            if at - start >= 2:
                self._sink(at - 1, 0)
            if end - at >= 2:
                self._float(at + 1, end)
        return False

    def _float(self, at: int, end: int) -> None:
        while at < end and self._less(at, at - 1):
            self._swap(at, at - 1)
            at += 1

    def _split(self, start: int, end: int, pivot: int) -> tuple[int, bool]:
        """Put what is less than the pivot before it; its new place, and whether everything stood right already."""
        self._swap(start, pivot)
        low, high = self._inwards(start, start + 1, end - 1)
        stood_right = low > high
        while low <= high:
            self._swap(low, high)
            low, high = self._inwards(start, low + 1, high - 1)
        self._swap(high, start)
        return high, stood_right

    def _inwards(self, pivot: int, low: int, high: int) -> tuple[int, int]:
        while low <= high and self._less(low, pivot):
            low += 1
        while low <= high and not self._less(high, pivot):
            high -= 1
        return low, high

    def _split_equal(self, start: int, end: int, pivot: int) -> int:
        """Put what equals the pivot first; where the greater ones begin."""
        self._swap(start, pivot)
        low, high = start + 1, end - 1
        while True:
            while low <= high and not self._less(start, low):
                low += 1
            while low <= high and self._less(start, high):
                high -= 1
            if low > high:
                return low
            self._swap(low, high)
            low, high = low + 1, high - 1
