"""A shell in which everything is set that could lead a lab elsewhere, and a home to go with it."""

import os
from collections.abc import Mapping
from pathlib import Path

from psycopg.pq import Conninfo

LIBPQ: Mapping[str, str] = {
    **{each.envvar.decode(): "no-such" for each in Conninfo.get_defaults() if each.envvar},
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "EUC_JP",
    "PGCONNECT_TIMEOUT": "1",
    "PGDATESTYLE": "German",
    "PGHOSTADDR": "203.0.113.9",
    "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=1",
    "PGPORT": "9",
    "PGSERVICEFILE": "/no/such/file",
    "PGSSLMODE": "verify-full",
    "PGSYSCONFDIR": "/no/such/folder",
    "PGTZ": "Asia/Kathmandu",
}
"""Every variable that this libpq knows, and those that it does not list."""

PYTHON: Mapping[str, str] = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONSTARTUP": "/no/such/file",
}

OTHERS: Mapping[str, str] = {
    "AIRFLOW_HOME": "/no/such/folder",
    "AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////no/such/file",
    "_AIRFLOW_PATCH_GEVENT": "1",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "KUBECONFIG": "/no/such/file",
    "KUBERNETES_SERVICE_HOST": "203.0.113.9",
    "KUBERNETES_SERVICE_PORT": "443",
    "LOCUST_LOCUSTFILE": "/no/such/file",
    "LOCUST_TAGS": "no-such",
    "LOCUST_USERS": "0",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_TARGET": "/no/such/folder",
    "PIP_USER": "1",
    "UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z",
    "UV_NO_BINARY": "1",
    "UV_PROJECT": "/no/such/folder",
    "GIT_DIR": "/no/such/folder",
    "NODE_OPTIONS": "--no-such-option",
    "XDG_CONFIG_HOME": "/no/such/folder",
    "XDG_DATA_HOME": "/no/such/folder",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "xx_XX.ISO-8859-1",
    "TZ": "Nowhere/Else",
    "COLUMNS": "1",
    "TERM": "dumb",
}

FILES: Mapping[str, str] = {
    ".locust.conf": "users = 0\ntags = no-such\nmaster = true\nexpect-workers = 9\n",
    ".netrc": "default login somebody password theirs\n",
    ".pg_service.conf": "[no-such]\nhost=203.0.113.9\n",
    ".pgpass": "*:*:*:*:theirs\n",
    ".kube/config": "{",
    ".psqlrc": "\\q\n",
}


_NOTES = """
import os
with open(os.path.dirname(__file__) + "/../started", "a") as started:
    started.write(f"{os.getpid()}\\n")
"""


def shell(home: Path) -> dict[str, str]:
    """Return the environment of such a shell; its `home` is made, with a Python path of its own.

    Whoever starts a Python with that path is written down in `home`/started.
    """
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    path = home / "modules"
    path.mkdir()
    (path / "sitecustomize.py").write_text(_NOTES)
    for name in ("lab", "common", "locust", "airflow"):
        (path / f"{name}.py").write_text("raise ImportError('theirs')\n")
    paths = {"HOME": str(home), "PYTHONPATH": str(path)}
    return {**os.environ, **LIBPQ, **PYTHON, **OTHERS, **paths}
