"""What each process of an embedded lab is started with: its command, and Airflow's settings.

Every setting that is not named here is Airflow's default: a promise kept only under odd settings is
none.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from common.database import DSN_VARIABLE
from common.environment import bare
from common.files import write_whole
from common.paths import PROJECT
from lab.environments.settings import clean_environment, database_urls
from lab.kubeapi.rules import KUBELET, LAB
from lab.spec import LabSpec

NAMESPACE = "airflow"
NODE = "lab-node"
ANSWERS = "answers.ndjson"
"""The file of a lab's folder that has what was answered to workers."""
_WORKER = "worker"
FORK_SERVER = "fork-server"
_POD_TEMPLATE = Path(__file__).with_name("pod_template.yaml")


@dataclass(frozen=True)
class Endpoints:
    """Where a lab's parts listen, on loopback; and the secrets that its parts share.

    `workers` is where workers find the API server, and `requests` where rules for them are taken.
    `temporary` is where Airflow's processes make their temporary files, sockets too.
    """

    postgres: int
    proxy: int
    control: int
    api: int
    kubernetes: str
    password: str
    secret: str
    temporary: str
    workers: str = ""
    requests: str = ""


@dataclass(frozen=True)
class Component:
    """One process to start: its name is its log's and its Postgres application_name.

    Our own run in the project's folder, which `python -m` puts on their path: a PYTHONPATH would
    reach the workers too. `imports` names the modules that it spends its start on, in FORKED; empty
    where it starts cold.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: Path = PROJECT
    imports: str = ""


_EVERY_COMMAND = (
    "airflow.cli.cli_parser",
    "airflow.migrations.db_types",
    "airflow.migrations.utils",
    "airflow.models.renderedtifields",
    "airflow.sdk.bases.operatorlink",
    "airflow.sdk.bases.skipmixin",
    "alembic.autogenerate",
    "argcomplete",
    "mako.ext.pygmentplugin",
    "setproctitle",
    "tabulate",
)
FORKED: Mapping[str, tuple[str, ...]] = {
    "api-server": (
        *_EVERY_COMMAND,
        "airflow.api_fastapi.main",
        "airflow.cli.commands.api_server_command",
        "airflow.dag_processing.dagbag",
        "airflow.models.db_callback_request",
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
    ),
    "scheduler": (
        *_EVERY_COMMAND,
        "airflow.api_fastapi.auth.tokens",
        "airflow.api_fastapi.execution_api.app",
        "airflow.api_fastapi.execution_api.routes",
        "airflow.api_fastapi.execution_api.versions",
        "airflow.callbacks.database_callback_sink",
        "airflow.cli.commands.dag_processor_command",
        "airflow.cli.commands.scheduler_command",
        "airflow.cli.commands.triggerer_command",
        "airflow.dag_processing.bundles.local",
        "airflow.dag_processing.manager",
        "airflow.jobs.dag_processor_job_runner",
        "airflow.jobs.scheduler_job_runner",
        "airflow.jobs.triggerer_job_runner",
        "airflow.models.dag_favorite",
        "airflow.models.revoked_token",
        "airflow.models.task_state_store",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils",
        "airflow.sdk._shared.logging.factory",
        "airflow.sdk._shared.logging.remote",
        "airflow.utils.serve_logs",
    ),
}
"""What fork servers import for Airflow's daemons, by server; the DAG processor and the triggerer
are forks of the scheduler's. A release lacks some of the modules. Found by comparing sys.modules of
daemons that run with those of a fork server, on 3.3.2."""

_FORKED_BY = {
    "api-server": "api-server",
    **dict.fromkeys(("scheduler", "dag-processor", "triggerer"), "scheduler"),
}


def proxy(postgres_port: int, directory: Path) -> Component:
    """Return the latency proxy in front of Postgres."""
    argv = [
        *(sys.executable, "-m", "lab.dbproxy", "--listen", "127.0.0.1:0"),
        *("--upstream", f"127.0.0.1:{postgres_port}", "--control", "127.0.0.1:0"),
    ]
    return Component("dbproxy", argv, bare(directory / "airflow"))


def workerproxy(directory: Path, at: Endpoints) -> Component:
    """Return the proxy between workers and the API server."""
    argv = [sys.executable, "-m", "lab.workerproxy", "--upstream", f"http://127.0.0.1:{at.api}"]
    argv += ["--answers", str(directory / ANSWERS)]
    dsn = make_conninfo(
        host="127.0.0.1",
        port=at.postgres,
        user="airflow",
        dbname="airflow",
        passfile=str(directory / "passfile"),
        application_name="ha-chaos",
    )
    return Component("workerproxy", argv, bare(directory / "airflow") | {DSN_VARIABLE: dsn})


def kubeapi(directory: Path) -> Component:
    """Return the embedded Kubernetes API."""
    argv = [sys.executable, "-m", "lab.kubeapi", "--port", "0"]
    argv += ["--logs", str(directory / "pods")]
    return Component("kubeapi", argv, bare(directory / "airflow"))


def clients(spec: LabSpec) -> tuple[str, ...]:
    """Return who asks the Kubernetes API, by the names that it knows them by; first ourselves."""
    return (LAB, KUBELET, _WORKER, FORK_SERVER, *_commands(spec))


def airflow_components(spec: LabSpec, directory: Path, at: Endpoints) -> Iterator[Component]:
    """Yield Airflow's own daemons, each under its name."""
    python = str(spec.airflow.python)
    commands = _commands(spec)
    commands["api-server"] += ["--host", "127.0.0.1", "--port", str(at.api), "--workers", "1"]
    for name, command in commands.items():
        env = airflow_env(spec, directory, at, name)
        argv = [python, "-m", "airflow", *command]
        imports = "" if spec.cold else _FORKED_BY.get(command[0], "")
        yield Component(name, argv, env, directory / "airflow", imports)


def _commands(spec: LabSpec) -> dict[str, list[str]]:
    """Return what Airflow's daemons are started by, each under its name."""
    return {
        "api-server": ["api-server"],
        "dag-processor": ["dag-processor"],
        **{f"scheduler-{n}": ["scheduler"] for n in range(1, spec.schedulers + 1)},
        **{f"triggerer-{n}": ["triggerer"] for n in range(1, spec.triggerers + 1)},
    }


def airflow_env(spec: LabSpec, directory: Path, at: Endpoints, name: str) -> dict[str, str]:
    """Return the environment of one Airflow process."""
    home = directory / "airflow"
    return {
        **clean_environment(spec.airflow, home),
        **database_urls(spec.airflow, at.proxy, at.password, name),
        **airflow_settings(at, home, PROJECT / "dags"),
        **(_of_a_user(spec.dags) if spec.dags else {}),
        "AIRFLOW__KUBERNETES_EXECUTOR__CLUSTER_CONTEXT": name,
        **spec.env,
        "PGAPPNAME": name,
        "TMPDIR": at.temporary,
    }


def _of_a_user(dags: str) -> dict[str, str]:
    """Return what makes a user's own DAGs those of the lab; his folder stays as it is."""
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": dags,
        # Only those that are flooded are switched on: others may have schedules.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def kubelet(spec: LabSpec, directory: Path, at: Endpoints, ledger: str) -> Component:
    """Return the kubelet; it runs in the suite's Python, its workers in Airflow's.

    The workers' environment is the kubelet's own, as on a node.
    """
    argv = [
        *(sys.executable, "-m", "lab.kubelet", "--kubeconfig", str(directory / "kubeconfig")),
        *("--context", KUBELET, "--namespace", NAMESPACE, "--node", NODE, "--mode", spec.kubelet),
        *("--python", str(spec.airflow.python), "--logs", str(directory / "pods")),
        *("--work", str(directory / "airflow")),
        *("--execution-api", f"{at.workers}/execution/"),
    ]
    env = airflow_env(spec, directory, at, _WORKER)
    return Component("kubelet", argv, env | {"HA_CHAOS_LEDGER": ledger})


def airflow_settings(at: Endpoints, home: Path, dags: Path) -> dict[str, str]:
    """Return the AIRFLOW__ variables that all components of a lab share, each with its reason."""
    return {**_what_it_is(at, dags), **_where_it_is(at, home), **_ROOM}


# Limits that a machine on which one server does everything would meet, and a deployment would not.
_ROOM = {
    # The API server's default pool (5 + 10) collapses above some 15 concurrent worker calls, where
    # one API server serves every worker.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "20",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "20",
    # Airflow's default is 32 a scheduler: a fan-out of 45, as apache/airflow#57618's reporter has,
    # would wait for slots of the executor, where only the pool's 128 are meant to be the limit.
    "AIRFLOW__CORE__PARALLELISM": "200",
}


def _what_it_is(at: Endpoints, dags: Path) -> dict[str, str]:
    """Return what makes it a lab: this executor, our DAGs and no others, at work at once."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # The API says nothing else of an error of the database, nor does its own log.
        "AIRFLOW__API__EXPOSE_STACKTRACE": "True",
        # Nobody is there to switch them on.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # Nor to log in; it listens on loopback only.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__SECRET_KEY": at.secret,
        # 3.0 reads the secret here, if it is nowhere else.
        "AIRFLOW__WEBSERVER__SECRET_KEY": at.secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": at.secret,
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(_POD_TEMPLATE),
        # Nobody is to hear of a test run.
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _where_it_is(at: Endpoints, home: Path) -> dict[str, str]:
    """Return the addresses, which differ from lab to lab, and where logs go."""
    return {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{at.workers}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{at.api}",
        "AIRFLOW__API__PORT": str(at.api),
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": NAMESPACE,
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": str(home.parent / "kubeconfig"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dags"),
    }


def write_passfile(path: Path, at: Endpoints) -> None:
    """Write a libpq password file, so that no password need be on a command line."""
    write_whole(path, f"127.0.0.1:{at.postgres}:*:*:{at.password}\n", mode=0o600)
