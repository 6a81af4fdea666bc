"""What was seen: orders of two statements that touch the same tables, and whole orders of rounds.

After Mallory's summaries of what happened before what: two statements of different processes that
touch one table, of which one writes it or locks rows in it, are a pair; its order is new once.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

from explore.controller import Standing

Pair = tuple[str, str, str]


class Coverage:
    """Counts what all rounds together have covered. `begin` a round, and feed it each step."""

    def __init__(self, pairs: Iterable[tuple[Pair, int]] = (), orders: Iterable[str] = ()) -> None:
        self.pairs: Counter[Pair] = Counter(dict(pairs))
        self.orders: set[str] = set(orders)
        self._last: dict[str, list[Standing]] = {}
        self._edges: list[Pair] = []

    def begin(self) -> None:
        """Begin a round."""
        self._last, self._edges = {}, []

    def passed(self, each: Standing) -> None:
        """Take a step: what it came after, at each table."""
        for before in self._before(each):
            pair = _pair(before, each)
            self.pairs[pair] += 1
            if pair not in self._edges[-4:]:
                self._edges.append(pair)
        footprint = each.statement.footprint
        for table in footprint.tables:
            if table in footprint.written:
                self._last[table] = [each]
            else:
                self._last.setdefault(table, []).append(each)
                del self._last[table][:-4]

    def end(self) -> bool:
        """End a round; return whether its order is new."""
        order = hashlib.sha256(repr(self._edges).encode()).hexdigest()[:12]
        new = order not in self.orders
        self.orders.add(order)
        return new

    def news(self, each: Standing) -> int:
        """Return how many orders that nobody saw yet somebody would make by going on now."""
        return sum(self.pairs[_pair(before, each)] == 0 for before in self._before(each))

    def _before(self, each: Standing) -> list[Standing]:
        found = {}
        for table in each.statement.footprint.tables:
            for before in self._last.get(table, ()):
                meets = before.statement.footprint.meets(each.statement.footprint)
                if before.actor != each.actor and meets:
                    found[before.ticket] = before
        return list(found.values())


def _pair(before: Standing, after: Standing) -> Pair:
    return before.point, after.point, f"{role(before.process)}-{role(after.process)}"


def role(process: str) -> str:
    """Return what a process is, whichever of its kind."""
    return process.rstrip("0123456789").rstrip("-")
