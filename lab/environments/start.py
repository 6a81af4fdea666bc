"""Runs in Airflow's Python: imports what every component needs, prints the version as JSON.

Importing `airflow` alone proves little: 3.1.1 as resolved for its release day does that, and
fails when its command line is imported. So this imports what the lab is going to run. It is given
the lab's own database URLs, of which Airflow makes engines: the drivers are those that will be
used, whatever this Airflow and its SQLAlchemy take by default.
"""

import importlib
import json
import sys

MODULES = (
    "psycopg2",
    "airflow.cli.cli_parser",
    "airflow.api_fastapi.app",
    "airflow.jobs.scheduler_job_runner",
    "airflow.dag_processing.manager",
    "airflow.sdk.execution_time.execute_workload",
    "airflow.sdk.execution_time.supervisor",
    "airflow.providers.standard.operators.python",
    "airflow.providers.cncf.kubernetes.executors.kubernetes_executor",
)

airflow = importlib.import_module("airflow")
for name in MODULES:
    importlib.import_module(name)
settings = importlib.import_module("airflow.settings")
drivers = [engine.dialect.driver for engine in (settings.engine, settings.async_engine)]
sys.argv = ["airflow", "version"]
importlib.import_module("airflow.__main__").main()
print(json.dumps({"version": airflow.__version__, "drivers": drivers}))
