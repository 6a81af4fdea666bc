"""What the audit's rows hold, decoded and turned into events."""

from collections.abc import Callable
from typing import Literal

import msgspec

from oracle.events import (
    DagRunEvent,
    Event,
    LedgerEvent,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
)

_Op = Literal["insert", "update", "delete"]


class _TaskInstanceBody(msgspec.Struct):
    op: _Op
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    old: Row | None
    new: Row | None
    region: str = ""


class _RunBody(msgspec.Struct):
    op: _Op
    dag_id: str
    run_id: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None


class _GapBody(msgspec.Struct):
    table: str
    reason: str


class _LedgerBody(msgspec.Struct):
    op: Literal["start", "end", "fail"]
    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    map_index: int = -1
    pod: str = ""
    pid: int = 0


_task_instance = msgspec.json.Decoder(_TaskInstanceBody).decode
_run = msgspec.json.Decoder(_RunBody).decode
_ledger = msgspec.json.Decoder(_LedgerBody).decode
gap_of = msgspec.json.Decoder(_GapBody).decode
"""Decodes the body of a gap."""


def _task_instance_event(t: float, process: str, xid: int, text: str) -> Event:
    body = _task_instance(text)
    key = TaskInstanceKey(body.dag_id, body.run_id, body.task_id, body.map_index, body.region)
    return TaskInstanceEvent(t, body.op, key, body.old, body.new, process, xid)


def _run_event(t: float, process: str, xid: int, text: str) -> Event:
    body = _run(text)
    old, new = ((state or {}).get("state") for state in (body.old, body.new))
    return DagRunEvent(t, body.op, body.dag_id, body.run_id, old, new, process, xid)


def _ledger_event(t: float, _process: str, _xid: int, text: str) -> Event:
    body = _ledger(text)
    key = TaskInstanceKey(body.dag_id, body.run_id, body.task_id, body.map_index)
    return LedgerEvent(t, body.op, key, body.try_number, body.pod, body.pid)


EVENTS: dict[str, Callable[[float, str, int, str], Event]] = {
    "ti": _task_instance_event,
    "run": _run_event,
    "ledger": _ledger_event,
}
"""By the kind of a row, what makes its event of the time, process, transaction and body."""
