"""The state that the users of one flood share: who was let in, which runs exist, which ended."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from load.plan import Order

GIVE_UP_SECONDS = 5.0
"""So long a server may fail from the start on; a flood's own beginning takes some seconds more."""

_FAILED = 500


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `flood-runs.ndjson`: a run was triggered, or its end was seen.

    `t` is seconds since the flood's first moment; `state` is the run's, once it ended.
    """

    op: str
    t: float
    n: int
    dag_id: str
    run_id: str
    state: str | None = None


def lines(path: Path) -> Iterator[Line]:
    """Yield what a flood, running or over, has written so far; a half line is left out."""
    if path.exists():
        for text in path.read_bytes().splitlines(keepends=True):
            if text.endswith(b"\n"):
                yield msgspec.json.decode(text, type=Line)


class Tally:
    """Counts the runs, and writes a line for each the moment it is known, for others to follow."""

    def __init__(self, journal: TextIO | None) -> None:
        self._journal = journal
        self._begin = time.monotonic()
        self._at: list[float] = []
        self.token: str | None = None
        self.error: str | None = None
        self._unwell_since: float | None = None
        self.lost: str | None = None
        self.placed = False
        self.absent: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.newest: dict[str, str] = {}
        self.open: dict[tuple[str, str], Order] = {}

    @property
    def seconds(self) -> float:
        """How long the flood has lasted."""
        return time.monotonic() - self._begin

    @property
    def count(self) -> int:
        """How many runs were triggered."""
        return len(self._at)

    @property
    def rate(self) -> float:
        """Runs a second from the first to the last that was triggered, 0 below two runs."""
        if len(self._at) < 2:
            return 0.0
        return (len(self._at) - 1) / max(self._at[-1] - self._at[0], 1e-9)

    def hopeless(self, status: int) -> bool:
        """Take note of an answer; tell whether the server takes no run, and will not.

        That is so when it has failed (5xx) all the time since its first answer, for as long as
        `GIVE_UP_SECONDS`. A server that took a run before may be disturbed, and is waited for.
        """
        if status < _FAILED:
            self._unwell_since = None if status else self._unwell_since
            return False
        if self._unwell_since is None:
            self._unwell_since = self.seconds
        return not self._at and self.seconds - self._unwell_since >= GIVE_UP_SECONDS

    def triggered(self, order: Order) -> None:
        """Note that a run exists."""
        self._at.append(self.seconds)
        self.newest[order.dag_id] = order.run_id
        self.open[order.dag_id, order.run_id] = order
        self._write("triggered", order)

    def finished(self, dag_id: str, run_id: str, state: str) -> None:
        """Note that a run ended; runs that are not this flood's, or were seen, are passed over."""
        order = self.open.pop((dag_id, run_id), None)
        if order is not None:
            self.ended[state] += 1
            self._write("finished", order, state)

    def found_absent(self, route: str) -> None:
        """Note that this Airflow has no such route."""
        self.absent.add(route)

    def _write(self, op: str, order: Order, state: str | None = None) -> None:
        if self._journal is None:
            return
        line = Line(op=op, t=round(self.seconds, 3), **order._asdict(), state=state)
        self._journal.write(msgspec.json.encode(line).decode() + "\n")
        self._journal.flush()
