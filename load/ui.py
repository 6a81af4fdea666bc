"""What Airflow's UI asks of the API server while somebody looks at it.

Read from the routes and the bundled front end of the wheels 3.0.4 to 3.3.2. A page refreshes
every `[api] auto_refresh_interval` seconds, 3 by default, as long as runs are active.
"""

from collections.abc import Mapping

REFRESH_SECONDS = 3.0

Routes = tuple[str, ...]
"""One thing that a page asks for: its routes in the versions that differ, newest first."""


def _polls(*routes: str | Routes) -> tuple[Routes, ...]:
    return tuple((route,) if isinstance(route, str) else route for route in routes)


FRAME = _polls("/ui/config", "/ui/auth/menus", "/api/v2/version")

PAGES: Mapping[str, tuple[Routes, ...]] = {
    "home": _polls(
        "/api/v2/monitor/health",
        "/ui/dashboard/historical_metrics_data?start_date={since}",
        "/ui/dashboard/dag_stats",
        "/api/v2/importErrors?limit=1",
        "/api/v2/pools",
    ),
    "dags": _polls(
        (
            "/ui/dags?limit=50&exclude_stale=true&dag_runs_limit=14",
            "/ui/dags/recent_dag_runs?limit=50&exclude_stale=true&dag_runs_limit=14",
        ),
        "/api/v2/dags?limit=50&exclude_stale=true",
        "/api/v2/importErrors?limit=1",
    ),
    "grid": _polls(
        "/api/v2/dags/{dag_id}/details",
        ("/ui/dags/{dag_id}/latest_run", "/ui/grid/latest_run/{dag_id}"),
        "/ui/grid/structure/{dag_id}?limit=10&order_by=-run_after",
        "/ui/grid/runs/{dag_id}?limit=10&order_by=-run_after",
        (
            "/ui/grid/ti_summaries/{dag_id}?run_ids={run_id}",
            "/ui/grid/ti_summaries/{dag_id}/{run_id}",
        ),
    ),
    "graph": _polls(
        "/ui/structure/structure_data?dag_id={dag_id}",
        "/ui/grid/runs/{dag_id}?limit=10&order_by=-run_after",
    ),
    "runs": _polls("/api/v2/dags/{dag_id}/dagRuns?limit=50&order_by=-run_after"),
    "run": _polls(
        "/api/v2/dags/{dag_id}/dagRuns/{run_id}",
        "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=50",
    ),
}
