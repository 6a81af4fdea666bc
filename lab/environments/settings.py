"""What an Airflow of ours is started with: nothing of the caller's, and what a user sets for it.

How its database is reached is here too: each of its sessions bears the name of its process.
"""

import functools
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.version import Version

from common.environment import bare
from common.errors import UserError
from lab.base import Airflow

_PSYCOPG_3_SINCE = (3, 4)
_FINDS = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('psycopg') else 3)"

_SETTING = re.compile(r"(?P<section>\w+)\.(?P<option>\w+)=(?P<value>.*)", re.DOTALL)
_PREFIX = "AIRFLOW__"
# Airflow also takes an option from a command, or from a secrets backend.
_OTHER_SOURCES = ("_CMD", "_SECRET")

_DATABASE = "the lab has a database of its own"
_DAGS = "the lab runs its own DAGs, or those of --dags"
_ADDRESSES = "it is where the lab's API server is"
_CLUSTER = "it is where the lab's Kubernetes API is, and how its pods are made"
_LOGIN = "the suite logs in by SimpleAuthManager"
_SECRETS = "each lab has a secret of its own"

_FIXED = {
    _DATABASE: ("database.sql_alchemy_conn", "database.sql_alchemy_conn_async"),
    "the suite is about the KubernetesExecutor": ("core.executor",),
    _DAGS: (
        *("core.dags_folder", "dag_processor.dag_bundle_config_list"),
        "core.dags_are_paused_at_creation",
    ),
    _ADDRESSES: (
        *("core.execution_api_server_url", "api.base_url", "api.host", "api.port"),
        *("api.ssl_cert", "api.ssl_key"),
    ),
    _CLUSTER: (
        *("kubernetes_executor.namespace", "kubernetes_executor.in_cluster"),
        *("kubernetes_executor.config_file", "kubernetes_executor.cluster_context"),
        *("kubernetes_executor.pod_template_file", "kubernetes_executor.multi_namespace_mode"),
        "kubernetes_executor.worker_container_repository",
        "kubernetes_executor.worker_container_tag",
    ),
    _LOGIN: ("core.auth_manager", "core.simple_auth_manager_all_admins"),
    _SECRETS: ("api.secret_key", "webserver.secret_key", "api_auth.jwt_secret"),
    "it is where the lab keeps logs": (
        *("logging.base_log_folder", "logging.dag_processor_child_process_log_directory"),
    ),
}
FIXED = {
    f"AIRFLOW__{option.replace('.', '__')}".upper(): why
    for why, options in _FIXED.items()
    for option in options
}
"""What nobody but the lab can set, each with its reason. Another value would lead Airflow to a
database, a cluster or files that are not the lab's, or keep the suite out of it."""


def clean_environment(airflow: Airflow, home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the caller's Airflow, Python or venv leaks."""
    env = bare(home)
    env["PATH"] = f"{airflow.python.parent}{os.pathsep}{env['PATH']}"
    env["AIRFLOW_HOME"] = str(home)
    env["PYTHONUNBUFFERED"] = "1"
    env["TMPDIR"] = str(home.parent / "tmp")
    if airflow.pythonpath:
        env["PYTHONPATH"] = os.pathsep.join(str(path) for path in airflow.pythonpath)
    return env


def prefers_psycopg_3(version: str) -> bool:
    """Return whether an Airflow takes psycopg 3 for asynchronous sessions where that is installed.

    From 3.4 on, its pre-releases too (airflow/settings.py).
    """
    return Version(version).release >= _PSYCOPG_3_SINCE


def database_urls(airflow: Airflow, port: int, password: str, name: str) -> dict[str, str]:
    """Return the settings of both database drivers, for a process of this name.

    libpq, and so psycopg2 and psycopg 3, takes the name from PGAPPNAME; asyncpg is no libpq. Of
    what stands in a URL's query SQLAlchemy makes arguments of `asyncpg.connect`, which has none
    for the name; but it has `dsn`, and the query of that one becomes settings of the session,
    beside the host, user and password that the URL itself gives (asyncpg/connect_utils.py, 0.30 to
    0.32).
    """
    place = f"airflow:{password}@127.0.0.1:{port}/airflow"
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": _asynchronous(airflow, place, name),
    }


def _asynchronous(airflow: Airflow, place: str, name: str) -> str:
    """Return the URL of asynchronous sessions, by the driver that Airflow itself would take."""
    if prefers_psycopg_3(airflow.version) and _finds_psycopg_3(airflow.python, airflow.pythonpath):
        return f"postgresql+psycopg_async://{place}"
    return f"postgresql+asyncpg://{place}?dsn=postgresql:///?application_name={name}"


@functools.cache
def _finds_psycopg_3(python: Path, pythonpath: tuple[Path, ...]) -> bool:
    """Ask an interpreter, as Airflow does (find_spec), in nothing of the caller's environment."""
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, pythonpath))}
    done = subprocess.run([str(python), "-c", _FINDS], env=env, check=False)
    return done.returncode == 0


def variables(settings: Sequence[str]) -> dict[str, str]:
    """Return the AIRFLOW__ variables of `section.option=value`s.

    Raises UserError for another form, and for what the lab alone can know, such as where its
    database is.
    """
    found = {}
    for setting in settings:
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise UserError(
                f"--set {setting!r} is not a valid setting.",
                "Write section.option=value, as in --set core.parallelism=32.",
            )
        name = variable(match["section"], match["option"])
        if why := fixed(name):
            raise UserError(f"--set {option_of(name)}: {why}.", "Leave it out.")
        found[name] = match["value"]
    return found


def variable(section: str, option: str) -> str:
    """Return the variable that sets an option of Airflow's."""
    return f"{_PREFIX}{section}__{option}".upper()


def fixed(name: str) -> str:
    """Say why nobody but the lab can set a variable; empty where anybody can."""
    plain = (name.removesuffix(source) for source in ("", *_OTHER_SOURCES))
    why = next((FIXED[each] for each in plain if each in FIXED), "")
    return f"the lab itself decides that: {why}" if why else ""


def ignored(environ: Mapping[str, str], taken: Iterable[str]) -> str:
    """Say in a line which of the shell's AIRFLOW__ variables a lab does not get; empty for none.

    Values are not shown: some are passwords.
    """
    left = sorted({name for name in environ if name.startswith(_PREFIX)} - set(taken))
    if not left:
        return ""
    settable = next((name for name in left if name not in FIXED), None)
    how = f" Give --set {option_of(settable)}=VALUE to set one." if settable else ""
    return f"Not taken from your shell: {', '.join(left)}.{how}"


def option_of(name: str) -> str:
    """Return the option that a variable sets, as `--set` writes it: core.parallelism."""
    section, _, option = name.removeprefix(_PREFIX).partition("__")
    return f"{section}.{option}".lower()
