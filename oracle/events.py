"""The records a history is made of: one typed struct a kind of event.

A history is NDJSON: a `Header`, then events, then an `End`. Every time `t` is in seconds since the
header's `epoch` on the database's clock; the events of the database stand in commit order. The
structs say what was *seen*; whether it was right is for the invariants to say.
"""

from typing import Literal

import msgspec

SCHEMA = 1
"""The version of this format; a reader refuses any other."""

WITHOUT_GAPS = "recorder-without-gaps"
"""The assumption by which a recorder vouches for its history: where it is not met, events are
missing, and even a violation may be none."""

LAB_HEALTHY_AFTER = "lab-healthy-after"
"""The assumption without which nobody can be blamed for a task that was left lying."""


class TaskInstanceKey(msgspec.Struct, frozen=True, gc=False):
    """What a task instance is called, through all its tries; its row's id may change, this not."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        mapped = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{mapped} @ {self.run_id}"


class Row(msgspec.Struct, frozen=True, gc=False):
    """The columns of Airflow's `task_instance` that an invariant looks at."""

    id: str
    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    queued_by_job_id: int | None = None
    external_executor_id: str | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The execution API's answer to a worker that it did not let start."""

    status: int
    reason: str | None = None
    previous_state: str | None = None
    message: str | None = None


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="header"):
    """The first line: which run this is, and when its clock began (unix seconds)."""

    schema: int
    run: str
    airflow: str
    lab: str
    schedulers: list[str]
    seed: int
    epoch: float


class _Record(msgspec.Struct, frozen=True, tag_field="kind", gc=False):
    """What all events have in common: when it happened, in seconds since the header's epoch."""

    t: float


class TaskInstanceEvent(_Record, frozen=True, tag="ti", gc=False):
    """A committed change of a row of `task_instance`, by the process that made it."""

    op: Literal["insert", "update", "delete"]
    ti: TaskInstanceKey
    old: Row | None
    new: Row | None
    process: str
    xid: int = 0


class DagRunEvent(_Record, frozen=True, tag="run", gc=False):
    """A committed change of a DAG run; `old` and `new` are its states, None where it is not."""

    op: Literal["insert", "update", "delete"]
    dag_id: str
    run_id: str
    old: str | None
    new: str | None
    process: str
    xid: int = 0


class PodEvent(_Record, frozen=True, tag="pod", gc=False):
    """What a watch of the pods told; `owner` is the label `airflow-worker`.

    `deleting` is true once the pod has a deletionTimestamp: a pending pod will then never run.
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


class WorkerEvent(_Record, frozen=True, tag="worker", gc=False):
    """How the worker in a pod ended, and the API's refusal if it was not allowed to start."""

    pod: str
    uid: str
    ti: TaskInstanceKey | None = None
    try_number: int | None = None
    exit_code: int | None = None
    refused: Refusal | None = None


class LedgerEvent(_Record, frozen=True, tag="ledger", gc=False):
    """What the user's code wrote itself: that it began, that it completed, or that it failed."""

    op: Literal["start", "end", "fail"]
    ti: TaskInstanceKey
    try_number: int
    pod: str
    pid: int


class FaultEvent(_Record, frozen=True, tag="fault", gc=False):
    """A disturbance began or ended; `process` is None if it struck no single process."""

    op: Literal["begin", "end"]
    name: str
    process: str | None = None
    detail: str = ""


class GateEvent(_Record, frozen=True, tag="gate", gc=False):
    """A gate was closed or opened, or a process was seen standing at it."""

    op: Literal["closed", "reached", "opened"]
    name: str
    process: str
    detail: str = ""


class NoteEvent(_Record, frozen=True, tag="note", gc=False):
    """A remark for a person who reads the history; no invariant looks at it."""

    text: str


class AssumptionEvent(_Record, frozen=True, tag="assumption", gc=False):
    """Whether a thing that a verdict rests on did happen: what was seen, and what was wanted."""

    name: str
    met: bool
    value: str = ""
    wanted: str = ""


class ProcessEvent(_Record, frozen=True, tag="process", gc=False):
    """A daemon of Airflow's was there when the recording began, ended by itself, or came back.

    `exit_code` is negative for a signal, or 128 and the signal, as the one who saw it has it;
    `detail` is the last that it said. Ends that a fault asked for are told by that fault alone.
    """

    op: Literal["watched", "ended", "started"]
    process: str
    exit_code: int | None = None
    detail: str = ""


class End(_Record, frozen=True, tag="end", gc=False):
    """The last line; `events` counts the lines between it and the header."""

    events: int


Event = (
    TaskInstanceEvent
    | DagRunEvent
    | PodEvent
    | WorkerEvent
    | LedgerEvent
    | FaultEvent
    | GateEvent
    | NoteEvent
    | AssumptionEvent
    | ProcessEvent
    | End
)
"""Every line of a history but the first."""
