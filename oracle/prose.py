"""Puts events into words: who did what. One event, one line; noise has none."""

from oracle.ends import told_end
from oracle.events import (
    ArchivedEvent,
    DagRunEvent,
    Event,
    FaultEvent,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    Row,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.states import IN_TRY, QUEUED, RUNNING, SCHEDULED, UP_FOR_RETRY, shown


class Narrator:
    """Tells the events of one task instance in order; remembers what the reader knows by then.

    Pods get letters in the order in which they appear, for their names are long and alike.
    """

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}
        self._phases: dict[str, str] = {}
        self._tries: set[int] = set()

    def tell(self, event: Event) -> tuple[str, str] | None:
        """Return who acted, and what was done; None for what adds nothing to the story."""
        told: tuple[str, str] | None = None
        if isinstance(event, TaskInstanceEvent):
            what = self._row(event)
            told = (event.process, what) if what else None
        elif isinstance(event, ArchivedEvent):
            move = f"{shown(event.old.state)} -> {shown(event.new.state)}"
            told = (event.process, f"moved the archived try {event.old.try_number}: {move}")
        elif isinstance(event, PodEvent):
            told = self._pod(event)
        elif isinstance(event, WorkerEvent):
            told = self._worker(event)
        elif isinstance(event, LedgerEvent):
            told = self._ledger(event)
        elif isinstance(event, DagRunEvent):
            told = (event.process, _run(event))
        elif isinstance(event, HoldEvent):
            told = (event.process, hold_text(event))
        elif isinstance(event, FaultEvent):
            told = ("fault", f"{told_fault(event)} {event.op}s")
        elif isinstance(event, ProcessEvent):
            told = told_process(event)
        return told

    def _row(self, event: TaskInstanceEvent) -> str | None:
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

    def _pod(self, event: PodEvent) -> tuple[str, str] | None:
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

    def _worker(self, event: WorkerEvent) -> tuple[str, str] | None:
        who = f"pod {self._letter(event.pod)}"
        refused = event.refused
        if refused:
            state = f" (previous_state {refused.previous_state})" if refused.previous_state else ""
            return who, f"was refused: {refused.status} {refused.reason or ''}".rstrip() + state
        if not event.exit_code:
            return None
        return who, f"had its worker exit with {event.exit_code}"

    def _ledger(self, event: LedgerEvent) -> tuple[str, str]:
        what = {"start": "began", "end": "completed", "fail": "failed"}[event.op]
        return f"pod {self._letter(event.pod)}", f"{what} the user code (try {event.try_number})"


def _same_state(old: Row, new: Row) -> str | None:
    if new.queued_by_job_id == old.queued_by_job_id or new.queued_by_job_id is None:
        return None
    return f"adopted it for job {new.queued_by_job_id}, {shown(new.state)}"


def _run(event: DagRunEvent) -> str:
    verb = "began" if event.new == RUNNING else f"set {shown(event.new)}"
    return f"{verb} run {event.run_id} of {event.dag_id}"


def hold_text(event: HoldEvent) -> str:
    """Say what became of the process: it will be held at a point, it is, or it goes on."""
    what = {
        "hold": f"will be held at {event.name}",
        "held": f"is held at {event.name}",
        "release": f"is released from {event.name}",
    }[event.op]
    return f"{what} ({event.detail})" if event.detail else what


def told_process(event: ProcessEvent) -> tuple[str, str] | None:
    """Say that a process ended, or is back; that it was there at the beginning is no news."""
    if event.op == "watched":
        return None
    return event.process, told_end(event) if event.op == "ended" else "was started again"


def told_fault(fault: FaultEvent) -> str:
    """Name a fault with whom it struck and how."""
    where = f" on {fault.process}" if fault.process else ""
    return f"{fault.name}{where}" + (f" ({fault.detail})" if fault.detail else "")
