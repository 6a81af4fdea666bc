"""What the audit's rows hold, as the triggers, and the user's code, write them."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from oracle.events import (
    DagRunEvent,
    Event,
    LedgerEvent,
    Row,
    RowEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
)


class _Named(msgspec.Struct, kw_only=True):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    region: str = ""

    @property
    def ti(self) -> TaskInstanceKey:
        return TaskInstanceKey(self.dag_id, self.run_id, self.task_id, self.map_index, self.region)


class _TaskInstanceBody(_Named, kw_only=True):
    op: Literal["insert", "update", "delete"]
    old: Row | None
    new: Row | None

    def event(self, t: float, process: str, xid: int) -> Event:
        return TaskInstanceEvent(t, self.op, self.ti, self.old, self.new, process, xid)


class _LedgerBody(_Named, kw_only=True):
    op: Literal["start", "end", "fail"]
    try_number: int
    pod: str = ""
    pid: int = 0

    def event(self, t: float, _process: str, _xid: int) -> Event:
        return LedgerEvent(t, self.op, self.ti, self.try_number, self.pod, self.pid)


class _RunRow(msgspec.Struct):
    state: str | None = None
    end: float | None = None


class _RunBody(msgspec.Struct):
    op: Literal["insert", "update", "delete"]
    dag_id: str
    run_id: str
    old: _RunRow | None
    new: _RunRow | None
    id: int = 0
    backfill: int | None = None

    def event(self, t: float, process: str, xid: int) -> Event:
        old, new = self.old or _RunRow(), self.new or _RunRow()
        which = (self.dag_id, self.run_id, old.state, new.state)
        return DagRunEvent(
            t, self.op, *which, process, xid, old.end, new.end, self.id, self.backfill
        )


class _OtherBody(msgspec.Struct):
    op: Literal["insert", "update", "delete"]
    table: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None

    def event(self, t: float, process: str, xid: int) -> Event:
        return RowEvent(t, self.op, self.table, self.old, self.new, process, xid)


class Gap(msgspec.Struct):
    """Something that the audit could not write down as a change."""

    table: str
    reason: str


Body = _TaskInstanceBody | _LedgerBody | _RunBody | _OtherBody | Gap

_DECODERS: dict[str, Callable[[str], Body]] = {
    "ti": msgspec.json.Decoder(_TaskInstanceBody).decode,
    "run": msgspec.json.Decoder(_RunBody).decode,
    "row": msgspec.json.Decoder(_OtherBody).decode,
    "ledger": msgspec.json.Decoder(_LedgerBody).decode,
    "gap": msgspec.json.Decoder(Gap).decode,
}


def decode(kind: str, body: str) -> Body:
    """Return what a row says. Raises KeyError and msgspec.ValidationError."""
    return _DECODERS[kind](body)
