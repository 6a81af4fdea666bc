"""One task instance as it is drawn: spans and marks on lanes, each with its words.

The lanes of a track are the processes that changed its row, `row` for the row itself, and
`pod:<name>`, `worker:<name>` and `code:<name>` for each of its pods.
"""

from functools import lru_cache

import msgspec

from common.redaction import redact
from oracle.events import (
    DagRunEvent,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.prose import Narrator
from oracle.states import RUNNING, shown

MARKS = 300
"""Marks that are kept of a task instance; one that needs more is in a loop, which is seen by then.
"""

safe = lru_cache(maxsize=10_000)(redact)
"""`redact`, which is asked about the same words again and again; it is most of the work here."""

TrackEvent = TaskInstanceEvent | PodEvent | WorkerEvent | LedgerEvent | DagRunEvent


class Span(msgspec.Struct, array_like=True):
    """Something that lasted; `end` is None if it outlived the history."""

    lane: str
    kind: str
    label: str
    begin: float
    end: float | None
    note: str = ""


class TrackMark(msgspec.Struct, array_like=True):
    """Something that happened: on which lane, who did what, and the small print."""

    lane: str
    kind: str
    t: float
    who: str
    what: str
    more: str


class Track(msgspec.Struct):
    """Everything of one task instance; `pods` are names by letter, in the order of the prose."""

    name: str
    pods: dict[str, str]
    spans: list[Span]
    marks: list[TrackMark]
    left_out: int = 0


class Tracker:
    """Makes a track of one task instance's events, which it is fed in order."""

    def __init__(self, ti: TaskInstanceKey) -> None:
        self.track = Track(safe(str(ti)), {}, [], [])
        self._narrator = Narrator()
        self._open: dict[str, Span] = {}

    def feed(self, event: TrackEvent) -> None:
        """Take an event of this task instance, or of its DAG run."""
        told = self._narrator.text(event)
        if isinstance(event, TaskInstanceEvent):
            self._row(event)
            if told:
                self._mark(event.process, _row_kind(event), event.t, told, _row_more(event))
            if told and event.new and event.new.state == RUNNING:
                self._let_start(event)
        elif isinstance(event, PodEvent):
            self._pod(event)
            if told:
                self._mark(f"pod:{event.name}", "pod", event.t, told, _pod_more(event))
        elif isinstance(event, WorkerEvent):
            self._worker(event, told)
        elif isinstance(event, LedgerEvent):
            self._code(event, told)
        elif told:
            self._mark(event.process, "run", event.t, told, f"xid {event.xid}")

    def _row(self, event: TaskInstanceEvent) -> None:
        new = event.new
        if new is None:
            self._end("row", event.t)
            return
        note = f"try {new.try_number} of {new.max_tries + 1}, set by {safe(event.process)}"
        open_span = self._open.get("row")
        same = event.old is not None and event.old.try_number == new.try_number
        if open_span is None or open_span.label != shown(new.state) or not same:
            self._begin("row", "row", shown(new.state), event.t, note)

    def _let_start(self, event: TaskInstanceEvent) -> None:
        """Show on the worker's lane that it was let start, where it is plain which one it was."""
        running = [lane for lane, span in self._open.items() if span.kind == "worker"]
        if len(running) == 1 and event.new is not None:
            lane = running[0]
            who = f"pod {self._letter(lane.partition(':')[2])}"
            what = f"had its worker let start (try {event.new.try_number})"
            self._mark(lane, "start", event.t, (who, what), _row_more(event))

    def _pod(self, event: PodEvent) -> None:
        self._letter(event.name)
        lane, worker = f"pod:{event.name}", f"worker:{event.name}"
        if event.op == "deleted":
            self._end(lane, event.t)
            self._end(worker, event.t)
            return
        span = self._open.get(lane)
        if span is None or span.label != event.phase:
            self._begin(lane, "pod", event.phase, event.t, _pod_more(event))
        if event.phase == "Running":
            if worker not in self._open and not event.deleting:
                tries = "" if event.try_number is None else f"try {event.try_number}"
                self._begin(worker, "worker", "worker", event.t, tries)
        else:
            self._end(worker, event.t)

    def _worker(self, event: WorkerEvent, told: tuple[str, str] | None) -> None:
        lane = f"worker:{event.pod}"
        letter = self._letter(event.pod)
        told = told or (f"pod {letter}", f"had its worker exit with {event.exit_code}")
        kind = "refused" if event.refused else "exit"
        self._mark(lane, kind, event.t, told, _worker_more(event))
        self._end(lane, event.t)

    def _code(self, event: LedgerEvent, told: tuple[str, str] | None) -> None:
        self._letter(event.pod)
        lane = f"code:{event.pod}"
        if told:
            self._mark(lane, "code", event.t, told, f"pid {event.pid}, {safe(event.pod)}")
        if event.op == "start":
            self._begin(lane, "code", "user code", event.t, f"try {event.try_number}")
        else:
            self._end(lane, event.t)

    def _letter(self, pod: str) -> str:
        """Letter a pod as the Narrator does: in order of appearance."""
        return self.track.pods.setdefault(pod, chr(ord("a") + min(len(self.track.pods), 25)))

    def _begin(self, lane: str, kind: str, label: str, t: float, note: str) -> None:
        self._end(lane, t)
        if len(self.track.spans) < MARKS:
            span = Span(lane, kind, label, _round(t), None, note)
            self.track.spans.append(span)
            self._open[lane] = span

    def _end(self, lane: str, t: float) -> None:
        span = self._open.pop(lane, None)
        if span is not None:
            span.end = max(span.begin, _round(t))

    def _mark(self, lane: str, kind: str, t: float, told: tuple[str, str], more: str) -> None:
        if len(self.track.marks) >= MARKS:
            self.track.left_out += 1
            return
        who, what = told
        mark = TrackMark(lane, kind, _round(t), who, safe(what), more)
        self.track.marks.append(mark)


def _round(t: float) -> float:
    return round(t, 6)


def _row_kind(event: TaskInstanceEvent) -> str:
    """Tell what kind of change a row's change is, for the shape of its mark."""
    raised = event.old and event.new and event.new.try_number != event.old.try_number
    return "try" if raised else "row"


def _row_more(event: TaskInstanceEvent) -> str:
    row = event.new or event.old
    job = f", job {row.queued_by_job_id}" if row and row.queued_by_job_id is not None else ""
    return f"try {row.try_number if row else 0}, {safe(event.process)}, xid {event.xid}{job}"


def _pod_more(event: PodEvent) -> str:
    tries = "" if event.try_number is None else f"try {event.try_number}, "
    owner = f", owner {safe(event.owner)}" if event.owner else ""
    reason = f", {event.reason}" if event.reason else ""
    return f"{tries}{safe(event.name)}{owner}{safe(reason)}"


def _worker_more(event: WorkerEvent) -> str:
    tries = "" if event.try_number is None else f"try {event.try_number}, "
    message = f": {event.refused.message}" if event.refused and event.refused.message else ""
    code = "" if event.exit_code is None else f", exit code {event.exit_code}"
    return f"{tries}{safe(event.pod)}{code}{safe(message)}"
