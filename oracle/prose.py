"""Puts events into words: who did what. One event, one line; noise has none."""

from collections.abc import Callable
from typing import Any

from oracle.ends import end_text
from oracle.events import (
    AnswerEvent,
    ArchivedEvent,
    DagRunEvent,
    Event,
    FaultEvent,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    Row,
    RowEvent,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.rows import CALLBACKS
from oracle.states import IN_TRY, QUEUED, RUNNING, SCHEDULED, UP_FOR_RETRY, shown

Text = tuple[str, str]
"""Who acted, and what was done."""


class Narrator:
    """Tells the events of one task instance in order; remembers what the reader knows by then.

    Pods get letters in the order in which they appear, for their names are long and alike.
    """

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}
        self._phases: dict[str, str] = {}
        self._tries: set[int] = set()
        self._texts: dict[type, Callable[[Any], Text | None]] = {
            TaskInstanceEvent: self._row,
            ArchivedEvent: _archived,
            PodEvent: self._pod,
            WorkerEvent: self._worker,
            LedgerEvent: self._ledger,
            AnswerEvent: _answer,
            ProcessEvent: process_text,
            DagRunEvent: _run,
            RowEvent: _other_row,
            HoldEvent: lambda event: (event.process, hold_text(event)),
            FaultEvent: lambda event: ("fault", f"{fault_text(event)} {event.op}s"),
        }

    def text(self, event: Event) -> Text | None:
        """Return who acted, and what was done; None for what adds nothing to the story."""
        text_of = self._texts.get(type(event))
        return text_of(event) if text_of else None

    def _row(self, event: TaskInstanceEvent) -> Text | None:
        what = self._change(event)
        return (event.process, what) if what else None

    def _change(self, event: TaskInstanceEvent) -> str | None:
        old, new = event.old, event.new
        if new is None:
            return "deleted its row"
        if old is None:
            return f"created it, {shown(new.state)}"
        if new.try_number != old.try_number and new.id != old.id:
            move = f"{shown(old.state)} -> {shown(new.state)}"
            return f"archived try {old.try_number} and made try {new.try_number}: {move}"
        if new.try_number != old.try_number:
            return self._new_try(old, new)
        if new.state == old.state:
            return _same_state(old, new)
        verb = {QUEUED: "queued it:", RUNNING: "let a worker start it:"}.get(
            new.state or "", "set it"
        )
        if new.state == SCHEDULED and old.state in (None, UP_FOR_RETRY):
            verb = "scheduled it:"
        return f"{verb} {shown(old.state)} -> {shown(new.state)} (try {new.try_number})"

    def _new_try(self, old: Row, new: Row) -> str:
        tries = f"try_number {old.try_number} -> {new.try_number}"
        verb = "scheduled it" if new.state == SCHEDULED else f"set it {shown(new.state)}"
        again = " again" if self._tries else ""
        self._tries.add(new.try_number)
        if old.state in IN_TRY:
            return f"{verb}{again}: {tries}, while it was {shown(old.state)}"
        origin = f" (it was {shown(old.state)})" if old.state else ""
        return f"{verb}{again}: {tries}{origin}"

    def _letter(self, pod: str) -> str:
        return self._letters.setdefault(pod, chr(ord("a") + min(len(self._letters), 25)))

    def _pod(self, event: PodEvent) -> Text | None:
        who = f"pod {self._letter(event.name)}"
        phase = "gone" if event.op == "deleted" else event.phase
        before = self._phases.get(event.name)
        self._phases[event.name] = phase
        attempt = "" if event.try_number is None else f" for try {event.try_number}"
        if event.op == "added":
            return who, f"was created{attempt}: {event.name}"
        if phase == before or before in ("Succeeded", "Failed"):
            return None
        code = "" if event.exit_code is None else f" (exit code {event.exit_code})"
        return who, f"is {phase}{code}" + ("" if before else f"{attempt}: {event.name}")

    def _worker(self, event: WorkerEvent) -> Text | None:
        who = f"pod {self._letter(event.pod)}"
        refused = event.refused
        if refused:
            state = f" (previous_state {refused.previous_state})" if refused.previous_state else ""
            return who, f"was refused: {refused.status} {refused.reason or ''}".rstrip() + state
        if not event.exit_code:
            return None
        return who, f"had its worker exit with {event.exit_code}"

    def _ledger(self, event: LedgerEvent) -> Text:
        what = {"start": "began", "end": "completed", "fail": "failed"}[event.op]
        return f"pod {self._letter(event.pod)}", f"{what} the user code (try {event.try_number})"


def _same_state(old: Row, new: Row) -> str | None:
    if new.queued_by_job_id == old.queued_by_job_id or new.queued_by_job_id is None:
        return None
    return f"adopted it for job {new.queued_by_job_id}, {shown(new.state)}"


def _archived(event: ArchivedEvent) -> Text:
    move = f"{shown(event.old.state)} -> {shown(event.new.state)}"
    return event.process, f"moved the archived try {event.old.try_number}: {move}"


def _answer(event: AnswerEvent) -> Text | None:
    """Tell an end that was acknowledged, and whatever was not; the row shows that it started."""
    if event.acknowledged and event.request != "state":
        return None
    asked = f"a worker's {event.request}" + (f" {event.state}" if event.state else "")
    if event.status is None:
        return "api-server", f"did not answer {asked}"
    lost = "" if event.given else ", and the worker did not get it"
    return event.by, f"answered {asked}: {event.status}{lost}"


def _run(event: DagRunEvent) -> Text:
    verb = "made" if event.op == "insert" else f"set {shown(event.new)}"
    if event.new == RUNNING:
        verb = "began"
    return event.process, f"{verb} run {event.run_id} of {event.dag_id}"


def _other_row(event: RowEvent) -> Text | None:
    if event.table == "backfill" and event.op == "insert" and event.new:
        return event.process, f"made backfill {event.new['id']} of {event.new['dag_id']}"
    if event.table == "trigger" and event.op == "update" and event.new:
        return event.process, f"took trigger {event.new['id']}"
    if event.table == "dag" and event.op == "update" and event.new and event.new.get("is_paused"):
        return event.process, f"paused {event.new['dag_id']}"
    if event.table == "asset_event" and event.op == "insert" and event.new:
        key = event.new.get("partition_key")
        of = f" (partition {key})" if key else ""
        return event.process, f"updated asset {event.new['asset_id']}{of}: event {event.new['id']}"
    if event.table in CALLBACKS and event.new:
        return event.process, f"asks for the callback of {_called_back(event.new)}"
    return None


def _called_back(request: dict[str, Any]) -> str:
    if request.get("task_id"):
        return f"try {request['try_number']}"
    return f"{request['run_id']} of {request['dag_id']}"


def hold_text(event: HoldEvent) -> str:
    """Say what became of the process: it will be held at a point, it is, or it goes on."""
    what = {
        "hold": f"will be held at {event.name}",
        "held": f"is held at {event.name}",
        "cancel": f"has its statement cancelled at {event.name}",
        "terminate": f"has its connection terminated at {event.name}",
        "release": f"is released from {event.name}",
    }[event.op]
    return f"{what} ({event.detail})" if event.detail else what


def process_text(event: ProcessEvent) -> Text | None:
    """Say that a process ended, or is back; that it was there at the beginning is no news."""
    if event.op == "watched":
        return None
    return event.process, end_text(event) if event.op == "ended" else "was started again"


def fault_text(fault: FaultEvent) -> str:
    """Name a fault with whom it struck and how."""
    where = f" on {fault.process}" if fault.process else ""
    return f"{fault.name}{where}" + (f" ({fault.detail})" if fault.detail else "")
