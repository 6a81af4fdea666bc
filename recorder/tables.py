"""What the recorder needs of Airflow's tables, and of which of the two models they are."""

import re
from typing import Any

from common.errors import UserError
from oracle.events import RowModel
from recorder.connection import Connection

WATCHED = ("dag_run", "task_instance")
"""In the order in which Airflow locks them; the other way round would be a deadlock in waiting."""

_COMMON = {
    "dag_run": frozenset({"id", "dag_id", "run_id", "state", "end_date", "backfill_id"}),
    "task_instance": frozenset(
        {"id", "dag_id", "run_id", "task_id", "state", "try_number", "max_tries"}
        | {"queued_by_job_id", "external_executor_id", "pool", "pool_slots"}
    ),
}
# Airflow 3.4 made each attempt a row (migration 0142) and renamed map_index (0144).
_MODELS: dict[RowModel, frozenset[str]] = {
    "row-per-task": frozenset({"map_index"}),
    "row-per-attempt": frozenset({"region_index", "region_id", "working_set", "archived_reason"}),
}
_MARKED = re.compile(r"^ *--\( (\S+)\n(.*?)^ *--\)\n", re.DOTALL | re.MULTILINE)

_COLUMNS = """
    SELECT attname::text, attnum, atttypid::bigint, atttypmod FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


class AuditError(UserError):
    """The audit cannot be installed, removed or read; the message is one clear line."""


def columns(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return the columns of the watched tables, in full, so that any change of them is seen."""
    return {table: connection.execute(_COLUMNS, (table,)).fetchall() for table in WATCHED}


def model(connection: Connection) -> RowModel:
    """Tell which model the database's tables are of. Raises AuditError, naming columns."""
    found = {table: {row[0] for row in rows} for table, rows in columns(connection).items()}
    if absent := [table for table in WATCHED if not found[table]]:
        raise AuditError(f"this is no migrated database of Airflow: no {' and no '.join(absent)}")
    missing = [
        f"{table}.{column}"
        for table, needed in _COMMON.items()
        for column in sorted(needed - found[table])
    ]
    there = found["task_instance"]
    whole = [name for name, needed in _MODELS.items() if needed <= there]
    mixed = [name for name, needed in _MODELS.items() if needed & there]
    if not missing and whole == mixed and len(whole) == 1:
        return whole[0]
    raise AuditError(_refusal(missing, there))


def _refusal(missing: list[str], there: set[str]) -> str:
    """Say what is missing; of the newer model as soon as any column of it is there."""
    name: RowModel = "row-per-attempt"
    if there.isdisjoint(_MODELS[name]):
        name = "row-per-task"
    missing = missing + [f"task_instance.{each}" for each in sorted(_MODELS[name] - there)]
    both = sorted(there & (_MODELS["row-per-task"] | _MODELS["row-per-attempt"]))
    said = f"it has no {', '.join(missing)}" if missing else f"it has {', '.join(both)} at once"
    return f"the recorder does not know this release's tables: {said}"


def script(template: str, model: RowModel) -> str:
    """Return the audit's script for one model: marked parts of the other are left out."""
    return _MARKED.sub(lambda found: found[2] if found[1] == model else "", template)
