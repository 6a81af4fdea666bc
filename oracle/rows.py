"""The other tables whose rows promises are about, and the columns that they need of them.

The recorder watches these beside `task_instance` and `dag_run`, those of them that a release has,
and hands on what changed as `RowEvent`. A promise that finds nothing of a table abstains.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """What is recorded of a table's rows. `seen`: also those that were there before."""

    columns: tuple[str, ...]
    seen: bool = False


TABLES: dict[str, Table] = {
    "dag": Table(("dag_id", "max_active_runs", "max_active_tasks"), seen=True),
    "slot_pool": Table(("pool", "slots", "include_deferred"), seen=True),
    "backfill": Table(("id", "max_active_runs"), seen=True),
}
"""By name, in the order in which they are watched: limits on what runs at once."""
