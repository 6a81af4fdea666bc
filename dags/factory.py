"""The DAG file: makes Airflow DAGs of the shapes that the environment asks for.

Workers parse it for every task, so it imports little and makes only the DAG that the parsing
context names. The dags folder itself is on `sys.path` (Airflow puts a bundle's root there), so
its neighbours are top-level modules here.
"""

import os
from datetime import datetime, timedelta
from typing import Any

import work
from airflow.sdk import DAG, Asset, TaskGroup, get_parsing_context
from shapes import DAYS, Kind, Node, Settings, Shape

POKES = 2


def make_dag(dag_id: str, shape: Shape, settings: Settings) -> DAG:
    """Build one DAG; it is not paused, and runs when triggered, or by the assets of its shape."""
    callback = work.called if shape.calls_back else None
    dag = DAG(
        dag_id,
        description=f"Shape {shape.name}: {shape.task_instances} task instances a run",
        schedule=make_schedule(shape),
        start_date=datetime.fromisoformat(DAYS[0]),
        end_date=datetime.fromisoformat(DAYS[1]) if shape.daily else None,
        catchup=False,
        max_active_runs=shape.max_active_runs,
        max_active_tasks=settings.max_active_tasks,
        is_paused_upon_creation=False,
        tags=["ha-chaos", shape.name],
        default_args={
            "retries": shape.retries if settings.retries is None else settings.retries,
            "retry_delay": timedelta(seconds=settings.retry_delay),
            "on_failure_callback": callback,
            "on_retry_callback": callback,
        },
        on_success_callback=callback,
        on_failure_callback=callback,
        **({"deadline": make_deadline(shape)} if shape.deadline else {}),
    )
    with dag:
        ends: dict[str, Any] = {name: TaskGroup(name) for name in shape.groups}
        for node in shape.nodes:
            ends[node.task_id] = make_task(node, ends.get(node.group or ""), settings)
        for upstream, downstream in shape.edges:
            ends[upstream] >> ends[downstream]
    return dag


def make_schedule(shape: Shape) -> Any:
    """Return what sets off a DAG's runs: its assets, the days, or None for nothing."""
    assets = [Asset(name) for name in shape.scheduled_on]
    if not shape.by_partition:
        return "@daily" if shape.daily else assets or None
    from airflow.sdk import AssetAll, PartitionedAssetTimetable

    return PartitionedAssetTimetable(assets=AssetAll(*assets))


def make_deadline(shape: Shape) -> Any:
    """Return an alert that has a function called when a run takes too long.

    A triggerer knows no modules of a DAG's; what it calls is one of Python's own.
    """
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback

    callbacks = {
        "executor": SyncCallback(work.called),
        "triggerer": AsyncCallback("asyncio.sleep", kwargs={"delay": 8}),
    }
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=shape.deadline),
        callback=callbacks[shape.caller],
    )


def make_task(node: Node, group: Any, settings: Settings) -> Any:
    """Build one task, an operator or a mapped one, in the DAG that is open."""
    orders: dict[str, Any] = {"sleep": settings.sleep}
    if node.kind in ("branch", "flaky"):
        orders["seed"] = settings.seed
    if node.kind == "branch":
        orders["choices"] = list(node.choices)
    if node.kind == "reschedule":
        orders["pokes"] = POKES
    how: dict[str, Any] = {
        "task_id": node.task_id.rpartition(".")[2],
        "task_group": group,
        "trigger_rule": node.trigger_rule,
        "python_callable": getattr(work, node.kind),
        "outlets": [Asset(name) for name in node.outlets],
    }
    if node.kind == "defer":
        how |= {"patience": node.patience}
    if node.kind == "reschedule":
        how |= {"mode": "reschedule", "poke_interval": settings.poke_interval}
    if node.mapped:
        return operator(node.kind).partial(**how).expand(op_kwargs=[orders] * node.mapped)
    return operator(node.kind)(**how, op_kwargs=orders)


def operator(kind: Kind) -> Any:
    """Return the operator for a kind of task, imported only where a shape asks for it."""
    if kind == "defer":
        from deferral import DeferringOperator

        return DeferringOperator
    if kind == "reschedule":
        from airflow.providers.standard.sensors.python import PythonSensor

        return PythonSensor
    from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator

    return BranchPythonOperator if kind == "branch" else PythonOperator


def make_dags() -> dict[str, DAG]:
    """Build the DAGs of the environment, or in a worker only the one that it will run."""
    settings = Settings.read(os.environ)
    wanted = get_parsing_context().dag_id
    return {
        dag_id: make_dag(dag_id, shape, settings)
        for dag_id, shape in settings.dags.items()
        if wanted in (None, dag_id)
    }


globals().update(make_dags())
