"""Points: where a process can be held, inside a statement that scans a table or at a commit.

`STATEMENTS` are the statements that have a name, as SQLAlchemy writes them in each line of
Airflow; what a name means, release by release, is kept in tests/system/statements.txt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.specifiers import SpecifierSet

from common.errors import UserError

CLIENT_SIDE = frozenset({"psycopg2"})
"""Drivers that put a statement's values into its text themselves, so that a pattern can name one;
others send them apart from it (PREPARE and Bind in PostgreSQL's protocol)."""


@dataclass(frozen=True)
class Point:
    """Where to hold: in the scan of `table` by a statement, or at the commit after one.

    `statement` is a LIKE pattern of the statement's text. With `row`, it is the commit of a
    transaction in which such a statement wrote or deleted a row of `table` that has these values
    (as JSON has them; {} is any row), and everything that the transaction locked is locked then.
    Without it, it is the statement itself, after its snapshot and before its row locks; one that
    finds no row of `table` is not held.
    """

    table: str
    statement: str = "%"
    row: Mapping[str, Any] | None = None
    name: str = "statement"

    @property
    def place(self) -> str:
        """Say where in a transaction that is."""
        return "after the snapshot, before row locks" if self.row is None else "at its commit"


@dataclass(frozen=True)
class Statement:
    """A statement of Airflow's that scenarios can name: the table whose scan it is held in.

    `patterns` are LIKE patterns by the releases that send it so, as a PEP 440 specifier. A word in
    braces stands for a value that whoever names the statement gives.
    """

    table: str
    patterns: Mapping[str, str]
    values: Sequence[str] = field(default=())

    def pattern(self, release: str) -> str | None:
        """Return the pattern for a release, None where it sends no such statement."""
        for releases, pattern in self.patterns.items():
            if SpecifierSet(releases).contains(release, prereleases=True):
                return pattern
        return None


ALL = ">=3.0.0.dev0"

# The statement with which a scheduler locks the runs it examines
# (DagRun.get_running_dag_runs_to_examine; 3.2.0 dropped the join with task_instance around it, 3.4
# the one with backfill_dag_run). Its sibling get_queued_dag_runs_to_set_running asks for dag's
# columns in the join.
_RUNNING_DAG_RUNS = (
    "%FROM dag_run JOIN dag ON dag.dag_id = dag_run.dag_id %WHERE dag_run.state = %"
    " AND dag.is_paused = false AND dag.is_stale = false AND dag_run.run_after <= now() ORDER BY %"
    "FOR NO KEY UPDATE OF dag_run SKIP LOCKED%"
)

# The statement with which a scheduler picks what it will queue, from inside its critical section
# (SchedulerJobRunner._executable_task_instances_to_queued): it has taken the advisory lock and
# the slot_pool rows by then.
_CRITICAL_SECTION = (
    "%FROM task_instance JOIN dag_run ON %JOIN dag ON task_instance.dag_id = dag.dag_id %"
    "FOR NO KEY UPDATE OF task_instance SKIP LOCKED%"
)

# The statement with which a scheduler looks for what was queued too long ago
# (SchedulerJobRunner._get_tis_stuck_in_queued), without a lock.
_STUCK_IN_QUEUED = (
    "%FROM task_instance %WHERE task_instance.state = % AND task_instance.queued_dttm < %"
    " AND task_instance.queued_by_job_id = %"
)

# The statement with which the API server reads an asset that a task has updated, within the
# transaction that stores the task's success (AssetManager.register_asset_change).
_ASSET_BY_NAME = "%FROM asset %WHERE asset.name = '{asset}'%"

# The statement with which a triggerer finds who waits for a trigger that fired, or failed
# (Trigger.submit_event, submit_failure). It locks nothing.
_TRIGGER_EVENT = (
    "SELECT task_instance.%FROM task_instance %WHERE task_instance.trigger_id = %"
    " AND task_instance.state = %"
)

# The statement with which a scheduler locks the DAGs that it will make runs of, among them one that
# assets have set off, as it has read before, without a lock (DagModel.dags_needing_dagruns).
_DAGS_SET_OFF = (
    "%FROM dag %WHERE dag.is_paused = false AND %dag.dag_id IN ('{consumer}')%"
    "FOR NO KEY UPDATE OF dag SKIP LOCKED%"
)

# The statement with which a scheduler looks for running task instances whose heartbeats are missing
# (SchedulerJobRunner._find_task_instances_without_heartbeats); until 3.3 it locks nothing.
_MISSED_HEARTBEATS = (
    "SELECT task_instance.%FROM task_instance JOIN dag ON task_instance.dag_id = dag.dag_id"
    " %WHERE task_instance.state IN (%) AND task_instance.last_heartbeat_at < %"
)

# The statement with which the API server reads and locks the task instance whose worker says how it
# is with it: that it has ended, defers, waits (execution API, ti_update_state).
_WORKER_STATE = (
    "SELECT task_instance.state, task_instance.try_number, task_instance.max_tries,"
    " task_instance.dag_id%FROM task_instance %WHERE task_instance.id = %FOR UPDATE%"
)

STATEMENTS: Mapping[str, Statement] = {
    "running-dag-runs": Statement("dag", {ALL: _RUNNING_DAG_RUNS}),
    "critical-section": Statement("dag", {ALL: _CRITICAL_SECTION}),
    "stuck-in-queued": Statement("task_instance", {ALL: _STUCK_IN_QUEUED}),
    "asset-by-name": Statement("asset", {ALL: _ASSET_BY_NAME}, ("asset",)),
    "dag-by-id": Statement("dag", {ALL: "%FROM dag %WHERE dag.dag_id = '{dag}'%"}, ("dag",)),
    "trigger-event": Statement("task_instance", {ALL: _TRIGGER_EVENT}),
    "dags-set-off": Statement("dag", {ALL: _DAGS_SET_OFF}, ("consumer",)),
    "worker-state": Statement("task_instance", {ALL: _WORKER_STATE}),
    "missed-heartbeats": Statement("task_instance", {ALL: _MISSED_HEARTBEATS}),
}
"""On every pinned release each of these fits its own statement and no other
(tests/system/test_statements.py)."""

RUNNING_DAG_RUNS = Point("dag", _RUNNING_DAG_RUNS, name="running-dag-runs")


def named(
    name: str, values: Mapping[str, str], release: str, drivers: Sequence[str] = ("psycopg2",)
) -> Point:
    """Return the point of a statement that has a name, in a release of Airflow.

    Raises UserError for a name that there is not, for values that are missing or too many, where
    the release sends no such statement, and where its driver keeps values out of the text.
    """
    statement = STATEMENTS.get(name)
    if statement is None:
        raise UserError(f"No statement is called {name!r}.", f"There are {', '.join(STATEMENTS)}.")
    if set(values) != set(statement.values):
        wanted = ", ".join(statement.values) or "none"
        raise UserError(f"The statement {name} takes these values: {wanted}.")
    pattern = statement.pattern(release)
    if pattern is None:
        raise UserError(f"Airflow {release} sends no statement that is known as {name}.")
    if values and (other := [each for each in drivers[:1] if each not in CLIENT_SIDE]):
        raise UserError(
            f"The statement {name} cannot be told apart by {', '.join(values)}: the driver "
            f"{other[0]} sends values apart from the statement.",
            f"Use a URL whose driver is one of {', '.join(sorted(CLIENT_SIDE))}.",
        )
    for word, value in values.items():
        pattern = pattern.replace(f"{{{word}}}", _escaped(value).replace("'", "''"))
    return Point(statement.table, pattern, name=name)


def like(glob: str) -> str:
    """Return the LIKE pattern of a process' name, in which `*` and `?` stand for any."""
    return _escaped(glob).replace("*", "%").replace("?", "_")


def _escaped(text: str) -> str:
    """Return a text as LIKE takes it literally."""
    for sign in "\\%_":
        text = text.replace(sign, f"\\{sign}")
    return text
