"""Counts different things for as long as a history lasts, in little more than 8 bytes a thing."""

from array import array
from bisect import bisect_left
from collections.abc import Hashable

_RECENT = 4096
_YOUNG = 1 << 16
_SHELVES = 1024


class Distinct:
    """A set of which only hashes of 64 bits are kept: it can count, and tell what was put in.

    Python's own set takes 60 to 80 bytes for each, so it has only the young ones. Whenever these
    are many, and an eighth of all, they go to shelves, one for each ending of a hash, where they
    lie sorted. Most of what is put in was put in a moment ago, so that is asked first: `recent`.
    Whoever has something to put in at each event looks there itself, and puts in what is not there.
    """

    def __init__(self) -> None:
        self.recent: set[int] = set()
        self._young: set[int] = set()
        self._shelves: list[array[int]] = []

    def add(self, thing: Hashable) -> None:
        """Put a thing in, if it is not."""
        number = hash(thing)
        if number not in self.recent:
            self.put(number)

    def put(self, number: int) -> None:
        """Put in a hash that is not among the recent ones."""
        self.recent.add(number)
        if len(self.recent) >= _RECENT:
            self._young |= self._unshelved(self.recent)
            self.recent.clear()
            if len(self._young) >= max(_YOUNG, self._shelved() // 8):
                self._shelve()

    def __contains__(self, thing: Hashable) -> bool:
        number = hash(thing)
        return number in self.recent or number in self._young or self._is_shelved(number)

    def __len__(self) -> int:
        return self._shelved() + len(self._young | self._unshelved(self.recent))

    def _unshelved(self, numbers: set[int]) -> set[int]:
        if not self._shelves:
            return numbers
        return {number for number in list(numbers) if not self._is_shelved(number)}

    def _shelved(self) -> int:
        return sum(map(len, self._shelves))

    def _is_shelved(self, number: int) -> bool:
        if not self._shelves:
            return False
        shelf = self._shelves[number % _SHELVES]
        place = bisect_left(shelf, number)
        return place < len(shelf) and shelf[place] == number

    def _shelve(self) -> None:
        old = self._shelves
        shelves = [array("q", old[each] if old else ()) for each in range(_SHELVES)]
        for number in self._young:
            shelves[number % _SHELVES].append(number)
        self._shelves = [array("q", sorted(shelf)) for shelf in shelves]
        self._young = set()
