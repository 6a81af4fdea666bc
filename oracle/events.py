"""The records a history is made of: one typed struct a kind of event.

A history is NDJSON: a `Header`, then events, then an `End`. Every time `t` is in seconds since the
header's `epoch` on the database's clock; the events of the database stand in commit order. The
structs say what was *seen*; whether it was right is for the invariants to say.
"""

from typing import Any, Literal

import msgspec
from msgspec import structs

from oracle import old_names

SCHEMA = 1
"""The version of this format; a reader refuses any other."""

WITHOUT_GAPS = "recorder-without-gaps"
"""The assumption by which a recorder vouches for its history: where it is not met, events are
missing, and even a violation may be none."""

LAB_HEALTHY_AFTER = "lab-healthy-after"
"""The assumption without which nobody can be blamed for a task that was left lying."""

WAITS_KNOWN = "waits-known"
"""The assumption, stated only where it is not met, that the recorder could ask the database why
what has not ended waits (`WaitingEvent`); without that nothing can be called lost."""


RowModel = Literal["row-per-task", "row-per-attempt"]
"""What a row of `task_instance` is: one task instance through all its tries (Airflow 3.0 to 3.3),
or one attempt of it, which is archived when the next takes its place (since 3.4)."""


class TaskInstanceKey(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a task instance is called, through all its tries; its row's id may change, this not.

    `region` is the id of the dynamic region (a loop's pass, since Airflow 3.4) that it belongs to.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    region: str = ""

    def __str__(self) -> str:
        mapped = "" if self.map_index < 0 else f"[{self.map_index}]"
        region = f" in {self.region[:8]}" if self.region else ""
        return f"{self.dag_id}.{self.task_id}{mapped}{region} @ {self.run_id}"


class Row(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The columns of Airflow's `task_instance` that an invariant looks at.

    `archived` says that a later attempt has taken this row's place, for `archived_reason`; it is
    never so where a row is a task instance (`RowModel`).
    """

    id: str
    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    queued_by_job_id: int | None = None
    external_executor_id: str | None = None
    pool: str | None = None
    pool_slots: int = 1
    archived: bool = False
    archived_reason: str | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The execution API's answer to a worker that it did not let start."""

    status: int
    reason: str | None = None
    previous_state: str | None = None
    message: str | None = None


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="header", omit_defaults=True):
    """The first line: which run this is, and when its clock began (unix seconds).

    `attempts` is what a row was; histories without it are of a row a task. `by_commit` says that
    PostgreSQL told when each transaction was committed (track_commit_timestamp), so that the order
    of events is that of commits to the microsecond.
    `answers` says that the requests of workers and their answers are recorded (`AnswerEvent`).
    `not_covered` says in words what of the lab no recorder sees: pods in other namespaces, what
    another executor runs.
    `asked` names the promises of which the run sets out to break one: where the history has nothing
    that any of them can judge, it says nothing about what was asked.
    """

    schema: int
    run: str
    airflow: str
    lab: str
    schedulers: list[str]
    seed: int
    epoch: float
    attempts: RowModel = "row-per-task"
    by_commit: bool = False
    answers: bool = False
    not_covered: list[str] = []
    asked: list[str] = []


class _Timed(msgspec.Struct, frozen=True, tag_field="kind", gc=False):
    """What all events have in common: when it happened, in seconds since the header's epoch."""

    t: float


class TaskInstanceEvent(_Timed, frozen=True, tag="ti", gc=False):
    """A committed change of a row of `task_instance`, by the process that made it."""

    op: Literal["insert", "update", "delete"]
    ti: TaskInstanceKey
    old: Row | None
    new: Row | None
    process: str
    xid: int = 0


class ArchivedEvent(_Timed, frozen=True, tag="archived", gc=False):
    """The state of an archived attempt moved; `oracle.attempts` makes it, no recorder does."""

    ti: TaskInstanceKey
    old: Row
    new: Row
    process: str


class DagRunEvent(_Timed, frozen=True, tag="run", gc=False, omit_defaults=True):
    """A committed change of a DAG run; `old` and `new` are its states, None where it is not.

    `old_end` and `new_end` are when it ended (unix seconds) as its row says it, `row` the row's id,
    and `backfill` the id of the backfill that it belongs to.
    """

    op: Literal["insert", "update", "delete"]
    dag_id: str
    run_id: str
    old: str | None
    new: str | None
    process: str
    xid: int = 0
    old_end: float | None = None
    new_end: float | None = None
    row: int = 0
    backfill: int | None = None


class RowEvent(_Timed, frozen=True, tag="row"):
    """A committed change of a row of another of Airflow's tables, in the columns of `oracle.rows`.

    `seen` is a row that was there when the recording began.
    """

    op: Literal["seen", "insert", "update", "delete"]
    table: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    process: str = ""
    xid: int = 0


POD_ENDED = frozenset({"Succeeded", "Failed"})
"""The phases of a pod all of whose containers have ended."""


class PodEvent(_Timed, frozen=True, tag="pod", gc=False):
    """What a watch of the pods reported; `owner` is the label `airflow-worker`.

    `deleting` is true once the pod has a deletionTimestamp: a pending pod will then never run.
    `exit_code` is that of the worker's container, which may have ended in a pod that still runs
    because another container of it does (a sidecar).
    """

    op: Literal["added", "modified", "deleted"]
    name: str
    uid: str
    ti: TaskInstanceKey | None = None
    try_number: int | None = None
    phase: str = "Pending"
    exit_code: int | None = None
    reason: str | None = None
    owner: str | None = None
    deleting: bool = False

    @property
    def over(self) -> bool:
        """Whether its worker does nothing any more: it ended, or its pod ended or is gone."""
        return self.exit_code is not None or self.op == "deleted" or self.phase in POD_ENDED


class WorkerEvent(_Timed, frozen=True, tag="worker", gc=False):
    """How the worker in a pod ended, and the API's refusal if it was not allowed to start."""

    pod: str
    uid: str
    ti: TaskInstanceKey | None = None
    try_number: int | None = None
    exit_code: int | None = None
    refused: Refusal | None = None


class LedgerEvent(_Timed, frozen=True, tag="ledger", gc=False):
    """What the user's code wrote itself: that it began, that it completed, or that it failed."""

    op: Literal["start", "end", "fail"]
    ti: TaskInstanceKey
    try_number: int
    pod: str
    pid: int

    @property
    def where(self) -> str:
        """In which pod, and in which try."""
        return f"pod {self.pod} (try {self.try_number})"


class AnswerEvent(_Timed, frozen=True, tag="answer", gc=False, omit_defaults=True):
    """What was answered to a worker's request, as the proxy before the API server saw it.

    `request` is the last word of its path (`run`, `state`, `heartbeat` ..) where it is about a task
    instance, whose row has the id `id`; else the first (`xcoms` ..), and then only what went wrong
    is told. `state` is what the worker said it is in, `host` where it runs. `status` is None where
    nobody answered: the API server was away, or the worker went first. `given` tells whether the
    answer was given to the worker, and `by` who answered: the API server, or a fault in its place.
    """

    request: str
    id: str = ""
    ti: TaskInstanceKey | None = None
    try_number: int | None = None
    state: str | None = None
    host: str | None = None
    status: int | None = None
    given: bool = False
    by: Literal["api-server", "fault"] = "api-server"

    @property
    def acknowledged(self) -> bool:
        """Whether the API server said yes, and the worker was told so."""
        return self.given and self.by == "api-server" and 200 <= (self.status or 0) < 300

    @property
    def tells(self) -> bool:
        """Whether it belongs to a task instance's story: heartbeats that went well do not."""
        return self.request in ("run", "state") or not self.acknowledged


class FaultEvent(_Timed, frozen=True, tag="fault", gc=False):
    """A disturbance began or ended; `process` is None if it struck no single process."""

    op: Literal["begin", "end"]
    name: str
    process: str | None = None
    detail: str = ""


class HoldEvent(_Timed, frozen=True, tag="hold", gc=False):
    """A point was closed for a process, it was held there, its statement was cancelled or its
    connection terminated there, or it was released."""

    op: Literal["hold", "held", "cancel", "terminate", "release"]
    name: str
    process: str
    detail: str = ""


BEGINS = frozenset({"begin", "hold"})
ENDS = frozenset({"end", "release"})
"""What an event of a fault or a hold says where a disturbance begins, and where it ends."""


class NoteEvent(_Timed, frozen=True, tag="note", gc=False):
    """A remark for a person who reads the history; no invariant looks at it."""

    text: str


class AssumptionEvent(_Timed, frozen=True, tag="assumption", gc=False):
    """Whether a thing that a verdict rests on did happen: what was seen, and what was wanted."""

    name: str
    met: bool
    value: str = ""
    wanted: str = ""

    def __post_init__(self) -> None:
        """Take an old name for what it is called now."""
        if self.name in old_names.ASSUMPTIONS:
            structs.force_setattr(self, "name", old_names.ASSUMPTIONS[self.name])


class WaitingEvent(_Timed, frozen=True, tag="waiting", gc=False):
    """Why something that had not ended at the end may rightly wait, as the database showed it.

    It is about a run, or about its task `task_id` (every mapped instance of it) where that is in
    `state`.
    """

    dag_id: str
    run_id: str
    why: str
    task_id: str | None = None
    state: str | None = None


class ProcessEvent(_Timed, frozen=True, tag="process", gc=False):
    """A daemon of Airflow's was there when the recording began, ended, or came back.

    `exit_code` is negative for a signal, or 128 and the signal, as the one who saw it has it;
    `detail` is the last that it said. That it was killed is in the fault alone that did it.
    """

    op: Literal["watched", "ended", "started"]
    process: str
    exit_code: int | None = None
    detail: str = ""


class End(_Timed, frozen=True, tag="end", gc=False):
    """The last line; `events` counts the lines between it and the header."""

    events: int


Event = (
    TaskInstanceEvent
    | ArchivedEvent
    | DagRunEvent
    | RowEvent
    | PodEvent
    | WorkerEvent
    | LedgerEvent
    | AnswerEvent
    | FaultEvent
    | HoldEvent
    | NoteEvent
    | AssumptionEvent
    | WaitingEvent
    | ProcessEvent
    | End
)
"""Every line of a history but the first."""
