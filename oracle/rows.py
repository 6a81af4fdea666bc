"""The other tables whose rows promises are about, and the columns that they need of them.

The recorder watches these beside `task_instance` and `dag_run`, those of them that a release has,
and hands on what changed as `RowEvent`. A promise that finds nothing of a table abstains.
"""

from dataclasses import dataclass

CALLBACKS = frozenset({"callback", "callback_request"})
"""Where a scheduler leaves requests for the DAG processor: since Airflow 3.2, and before."""


@dataclass(frozen=True)
class Table:
    """What is recorded of a table's rows. `seen`: also those that were there before.

    `comes`: only that a row comes; what becomes of it is of no interest.
    """

    columns: tuple[str, ...]
    seen: bool = False
    comes: bool = False


TABLES: dict[str, Table] = {
    "dag": Table(
        (
            *("dag_id", "max_active_runs", "max_active_tasks", "is_paused", "is_draining"),
            "asset_expression",
        ),
        seen=True,
    ),
    "slot_pool": Table(("pool", "slots", "include_deferred"), seen=True),
    "backfill": Table(("id", "dag_id", "max_active_runs", "completed_at"), seen=True),
    "trigger": Table(("id", "triggerer_id"), seen=True),
    "dag_schedule_asset_reference": Table(("asset_id", "dag_id"), seen=True),
    "asset_event": Table(("id", "asset_id", "partition_key")),
    "dagrun_asset_event": Table(("dag_run_id", "event_id")),
    "partitioned_asset_key_log": Table(
        (
            *("asset_id", "asset_event_id", "source_partition_key"),
            *("target_dag_id", "target_partition_key"),
        )
    ),
    "callback": Table(("id", "data"), comes=True),
    "callback_request": Table(("id", "callback_type", "callback_data"), comes=True),
}
"""By name, in the order in which they are watched: limits on what runs at once; assets: what waits
for them, what became of them, and which run had that; and callbacks, of which the audit keeps whose
they are and no more (`oracle.whose`)."""
