"""Is a callback asked for once for each end?"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from oracle.events import (
    BEGINS,
    DagRunEvent,
    End,
    FaultEvent,
    Header,
    HoldEvent,
    ProcessEvent,
    RowEvent,
    TaskInstanceKey,
)
from oracle.invariants.base import AT_ONCE, Disturbances, Invariant, Violation
from oracle.rows import CALLBACKS
from oracle.states import RUN_FINISHED, SUCCESS, shown

LATE_SECONDS = 5.0
"""A request and the end that it is for are of two transactions, in either order; so long after one
of them the other has been committed."""

REMEMBERED = 10_000
"""Runs, and tries, of which it is known who asked; the oldest are forgotten first."""

_LATELY = 200
"""Runs that can have ended in `LATE_SECONDS`."""


class _Which(NamedTuple):
    dag_id: str
    run_id: str


@dataclass(slots=True)
class _Run:
    """How often a run ended, by whom the last time, and who asked for its callback."""

    ends: int = 0
    last: DagRunEvent | None = None
    asked: list[RowEvent] = field(default_factory=list)
    excused: bool = False


class CalledBackOnce(Invariant):
    """Callbacks tell people, and set off what waits: twice is a false alarm, never is silence.

    A scheduler that ends a run leaves a request for its DAG's callback to the DAG processor; so
    does one that ends a try whose worker cannot do it any more, for the task's. Of a run there may
    be as many as it has ends: one that was cleared ends once more.

    That one is missing is judged where the DAG is known to have it, from another run that ended so,
    and where nothing disturbed: a scheduler that dies between the two transactions asks for none.
    """

    name = "called-back-once"
    promise = "A callback is asked for once when a run ends, and once when a scheduler ends a try"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._runs: OrderedDict[_Which, _Run] = OrderedDict()
        self._tries: OrderedDict[tuple[str, int], RowEvent] = OrderedDict()
        self._has: set[tuple[str, bool]] = set()
        self._waiting: deque[tuple[_Which, RowEvent]] = deque()
        self._disturbances = Disturbances()
        self._judged = 0
        self._end: float | None = None

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Count a run's ends."""
        if event.new in RUN_FINISHED or event.old in RUN_FINISHED:
            run = self._run(_Which(event.dag_id, event.run_id))
            if event.old in RUN_FINISHED:
                run.ends = max(1, run.ends)
            else:
                run.ends += 1
                run.last = event
                run.excused = self._disturbances.excuse(event.t)
        return self._settled(event.t) if self._waiting else ()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Count who asks."""
        row = event.new
        if event.table not in CALLBACKS or row is None:
            return ()
        if row.get("request") == "DagCallbackRequest":
            self._of_run(event, row)
        elif row.get("request") == "TaskCallbackRequest":
            return self._of_try(event, row)
        return self._settled(event.t)

    def _of_run(self, event: RowEvent, row: dict[str, Any]) -> None:
        which = _Which(str(row["dag_id"]), str(row["run_id"]))
        self._has.add((which.dag_id, bool(row["failed"])))
        self._run(which).asked.append(event)
        self._waiting.append((which, event))
        self._judged += 1

    def _of_try(self, event: RowEvent, row: dict[str, Any]) -> Iterable[Violation]:
        self._judged += 1
        number = int(row["try_number"])
        before = self._tries.setdefault((str(row["ti"]), number), event)
        if len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)
        if before is event:
            return ()
        index = -1 if row["map_index"] is None else int(row["map_index"])
        ti = TaskInstanceKey(row["dag_id"], row["run_id"], row["task_id"], index)
        return (self._again(f"try {number} of {ti}", ti, before, event),)

    def _run(self, which: _Which) -> _Run:
        """Return what is known of a run; the one that was quiet the longest is forgotten."""
        run = self._runs.setdefault(which, _Run())
        self._runs.move_to_end(which)
        if len(self._runs) > REMEMBERED:
            self._runs.popitem(last=False)
        return run

    def _settled(self, now: float) -> Iterator[Violation]:
        """Judge the requests whose ends have been told by now, if there are any."""
        while self._waiting and self._waiting[0][1].t + LATE_SECONDS <= now:
            which, event = self._waiting.popleft()
            run = self._run(which)
            place = next((n for n, each in enumerate(run.asked) if each is event), 0)
            if place >= max(1, run.ends):
                del run.asked[place]
                of = f"{which.run_id} of {which.dag_id}"
                yield self._again(of, None, run.asked[place - 1], event)

    def _again(
        self, what: str, ti: TaskInstanceKey | None, first: RowEvent, event: RowEvent
    ) -> Violation:
        fact = (
            f"{event.process} asked for that of {what} again, {event.t - first.t:.1f} s after "
            f"{first.process}"
        )
        return self.violation(fact, ti, event.t, first, event)

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs, and excuse the ends that came just before."""
        self._disturbances.feed(event)
        if event.op in BEGINS or event.op in AT_ONCE:
            self._excuse(event.t)

    on_hold = on_fault

    def on_process(self, event: ProcessEvent) -> None:
        """Excuse the ends that came just before a process ended."""
        if event.op == "ended":
            self._excuse(event.t)

    def _excuse(self, t: float) -> None:
        for run in islice(reversed(self._runs.values()), _LATELY):
            if run.last is not None and run.last.t + LATE_SECONDS >= t:
                run.excused = True

    def on_end(self, event: End) -> None:
        """Take note of when the history ends."""
        self._end = event.t

    def finish(self) -> Iterable[Violation]:
        """Judge the last requests, and report who asked for none."""
        yield from self._settled(float("inf"))
        for which, run in self._runs.items():
            if (last := run.last) is not None and self._is_missing(which, run, last):
                fact = (
                    f"nobody asked for that of {which.run_id} of {which.dag_id}, which "
                    f"{last.process} ended as {shown(last.new)}"
                )
                yield self.violation(fact, None, last.t, last)

    def _is_missing(self, which: _Which, run: _Run, last: DagRunEvent) -> bool:
        there_was_time = self._end is not None and self._end - last.t > LATE_SECONDS
        has_one = (which.dag_id, last.new != SUCCESS) in self._has
        by_scheduler = self.is_scheduler(last.process)
        return not run.asked and not run.excused and there_was_time and has_one and by_scheduler

    def abstention(self) -> str | None:
        """Say that nobody asked for a callback."""
        return None if self._judged else "no callback was asked for"

    def judged(self) -> int | None:
        """Count the requests."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "callbacks"
