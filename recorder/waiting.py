"""Asks the database, once and at the end, why what has not ended has not: what may rightly wait.

A history shows what moved. What holds the rest back is in Airflow's own tables: a paused DAG,
`max_active_runs`, a full pool, `depends_on_past`, another executor. Only the runs that are unended
in the history are looked up, by their keys, in one short read-only transaction.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

from common.redaction import first_line
from oracle.attempts import Attempts
from oracle.events import (
    WAITS_KNOWN,
    AssumptionEvent,
    Event,
    Header,
    RowModel,
    WaitingEvent,
)
from oracle.unended import Run, Unended
from recorder.connection import Dsn, connect

MOST_RUNS = 2_000
"""Runs that are asked about at most; where more are unended, nothing is called lost."""

MOST_REASONS = 5_000
"""Reasons that are taken at most; there is one a run, and one a task and its state."""

PATIENCE_MS = 5_000
"""Milliseconds that a statement may take, and wait for a lock."""

# Airflow's own tests: DagRun.get_running_dag_runs_to_examine, get_queued_dag_runs_to_set_running.
_RUNS = """
SELECT r.dag_id, r.run_id, NULL AS task_id, NULL AS state, CASE
    WHEN d.dag_id IS NULL OR d.is_stale THEN format('DAG %%s is no longer there', r.dag_id)
    WHEN d.is_paused THEN format('DAG %%s is paused', r.dag_id)
    WHEN r.run_after > now() THEN 'it is due at a later time'
    WHEN b.is_paused THEN 'its backfill is paused'
    WHEN n.running >= coalesce(b.max_active_runs, d.max_active_runs) THEN format(
        'max_active_runs of DAG %%s is %%s, and %%s of its runs are running',
        r.dag_id, coalesce(b.max_active_runs, d.max_active_runs), n.running)
    END AS why
FROM wanted w JOIN dag_run r USING (dag_id, run_id)
LEFT JOIN dag d ON d.dag_id = r.dag_id
LEFT JOIN backfill b ON b.id = r.backfill_id
LEFT JOIN LATERAL (
    SELECT count(*) AS running FROM dag_run other
    WHERE r.state = 'queued' AND other.dag_id = r.dag_id AND other.state = 'running'
        AND other.backfill_id IS NOT DISTINCT FROM r.backfill_id
) n ON r.state = 'queued'
"""

# SchedulerJobRunner._executable_task_instances_to_queued; a limit on the instances of one task
# stands in the serialized DAG alone, so that another instance at work is reason enough there.
_SCHEDULED = """
SELECT t.dag_id, t.run_id, t.task_id, t.state, min(CASE
    WHEN p.pool IS NULL THEN format('there is no pool %%s', t.pool)
    WHEN p.slots >= 0 AND o.taken + t.pool_slots > p.slots THEN format(
        'pool %%s has %%s slots, and %%s are taken', t.pool, p.slots, o.taken)
    WHEN a.active >= d.max_active_tasks THEN format(
        'max_active_tasks of DAG %%s is %%s, and %%s are active in its run',
        t.dag_id, d.max_active_tasks, a.active)
    WHEN d.has_task_concurrency_limits AND a.alike > 0 THEN format(
        'task %%s may have a limit of active instances, and %%s are active', t.task_id, a.alike)
    END) AS why
FROM tasks t LEFT JOIN dag d ON d.dag_id = t.dag_id
LEFT JOIN slot_pool p ON p.pool = t.pool
LEFT JOIN LATERAL (
    SELECT coalesce(sum(i.pool_slots), 0) AS taken FROM task_instance i WHERE i.pool = t.pool
        AND (i.state IN ('queued', 'running') OR (p.include_deferred AND i.state = 'deferred'))
        {current}
) o ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.run_id = t.run_id) AS active,
        count(*) FILTER (WHERE i.task_id = t.task_id) AS alike
    FROM task_instance i
    WHERE i.dag_id = t.dag_id AND i.state IN ('queued', 'running') {current}
) a ON true
WHERE t.state = 'scheduled' GROUP BY 1, 2, 3, 4
"""

_ELSEWHERE = """
SELECT t.dag_id, t.run_id, t.task_id, t.state, min(format('it is %%s''s', t.executor)) AS why
FROM tasks t WHERE t.state IN ('scheduled', 'queued', 'running', 'restarting')
    AND t.executor IS NOT NULL AND t.executor NOT LIKE '%%Kubernetes%%'
GROUP BY 1, 2, 3, 4
"""

# What a task depends on stands in the serialized DAG alone; the newest one of each DAG is read.
_PAST = """
SELECT DISTINCT t.dag_id, t.run_id, t.task_id, t.state,
    'it may depend on its past, and the run before has not succeeded' AS why
FROM (
    SELECT s.dag_id, coalesce(found ->> 'task_id', any_task) AS task_id FROM (
        SELECT DISTINCT ON (dag_id) dag_id, data::jsonb AS data,
            CASE WHEN data IS NULL THEN '' END AS any_task
        FROM serialized_dag WHERE dag_id IN (SELECT dag_id FROM tasks WHERE state IS NULL)
        ORDER BY dag_id, last_updated DESC
    ) s LEFT JOIN LATERAL jsonb_path_query(s.data, %(past)s) found ON true
) past JOIN tasks t ON t.dag_id = past.dag_id AND past.task_id IN (t.task_id, '')
JOIN dag_run r ON r.dag_id = t.dag_id AND r.run_id = t.run_id
JOIN LATERAL (
    SELECT q.run_id FROM dag_run q WHERE q.dag_id = t.dag_id
        AND coalesce(q.logical_date, q.run_after) < coalesce(r.logical_date, r.run_after)
    ORDER BY coalesce(q.logical_date, q.run_after) DESC LIMIT 1
) q ON true
WHERE t.state IS NULL AND r.state = 'running' AND EXISTS (
    SELECT FROM task_instance i WHERE i.dag_id = t.dag_id AND i.run_id = q.run_id
        AND coalesce(i.state, 'none') NOT IN ('success', 'skipped') {current}
)
"""

_DEPENDS_ON_PAST = """
$.dag.tasks[*].__var ? (@.depends_on_past == true || @.partial_kwargs.depends_on_past == true)
"""
"""In a serialized DAG, of a mapped task too; `wait_for_downstream` implies it."""

_ASKED = """
WITH wanted AS (
    SELECT * FROM unnest(%(dags)s::text[], %(runs)s::text[]) AS w (dag_id, run_id)
), tasks AS MATERIALIZED (
    SELECT DISTINCT i.dag_id, i.run_id, i.task_id, i.state, i.pool, i.pool_slots, i.executor
    FROM wanted w JOIN task_instance i USING (dag_id, run_id)
    WHERE (i.state IS NULL OR i.state IN ('scheduled', 'queued', 'running', 'restarting'))
        {current}
)
SELECT * FROM ({what}) reasons WHERE why IS NOT NULL LIMIT %(most)s
"""

_CURRENT: dict[RowModel, str] = {"row-per-task": "", "row-per-attempt": "AND i.working_set"}
"""The condition that leaves archived attempts out, where there are any."""


class WaitingReader:
    """Follows what is unended, as a listener of the recorder, and asks about it when told to."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._unended = Unended()
        self._attempts: Attempts | None = None
        self._current = _CURRENT["row-per-task"]

    def begin(self, header: Header) -> None:
        """Take in what a row is in this history; without that it is a task instance."""
        self._attempts = Attempts(header)
        self._current = _CURRENT[header.attempts]

    def feed(self, event: Event) -> None:
        """Take the next event of the history."""
        for each in self._attempts.feed(event) if self._attempts else (event,):
            self._unended.feed(each)

    def ask(self, t: float) -> list[WaitingEvent | AssumptionEvent]:
        """Return why what is unended waits, as far as it may; `t` is the time of these events.

        Where that cannot be had, an unmet assumption says so: nothing may be called lost then.
        """
        for event in self._attempts.finish() if self._attempts else ():
            self._unended.feed(event)
        runs = sorted(self._unended.all_runs())
        if not runs:
            return []
        if len(runs) > MOST_RUNS:
            return [_unknown(t, f"{len(runs)} runs are unended, {MOST_RUNS} are asked about")]
        try:
            found = list(self._reasons(runs))
        except psycopg.Error as error:
            return [_unknown(t, f"the database could not be asked: {first_line(error)}")]
        if len(found) >= MOST_REASONS:
            return [_unknown(t, f"there are {MOST_REASONS} reasons or more")]
        return [WaitingEvent(t, **reason) for reason in found]

    def _reasons(self, runs: list[Run]) -> Iterator[dict[str, Any]]:
        with connect(self._dsn()) as connection, connection.cursor(row_factory=dict_row) as cursor:
            connection.read_only = True
            cursor.execute(f"SET LOCAL statement_timeout = {PATIENCE_MS}")
            cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
            values = {
                "dags": [dag_id for dag_id, _ in runs],
                "runs": [run_id for _, run_id in runs],
                "past": _DEPENDS_ON_PAST,
                "most": MOST_REASONS,
            }
            for what in (_RUNS, _SCHEDULED, _ELSEWHERE, _PAST):
                statement = _ASKED.replace("{what}", what).replace("{current}", self._current)
                yield from cursor.execute(statement.encode(), values)


def _unknown(t: float, why: str) -> AssumptionEvent:
    return AssumptionEvent(t, WAITS_KNOWN, False, why, "why what is unended waits")
