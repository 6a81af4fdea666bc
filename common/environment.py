"""What a process is started with, so that a verdict does not depend on the shell of who asked.

bare(home)     for what is under test and for our own parts of a lab: Airflow, its workers, the
               proxy, the Kubernetes API, the flood. Nothing of the caller's but what is named
               here; and HOME is the lab's, so that no ~/.locust.conf, ~/.pgpass or ~/.netrc is
               found either
inherited()    for what works on the user's behalf, and needs his kubeconfig, Docker, proxies
               or credentials: a supervisor, helm, uv. All but what would make another program
               of ours of it
forget_libpq   for this process itself, whose connections libpq would lead elsewhere
"""

import os
import re
from pathlib import Path

_KEPT = ("PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")

# Of Python those that the interpreter reads: PYTHON_KEYRING_BACKEND is uv's way to a password.
_ANOTHER_PROGRAM = re.compile(
    r"PYTHON[A-Z]|__PYVENV_|VIRTUAL_ENV$|_{0,2}AIRFLOW_|LOCUST_|PSYCOPG_|NODE_OPTIONS$"
)

LOCALE = "C.UTF-8"
"""What the processes of a lab speak and write, whatever the shell does."""

UMASK = 0o022
"""With which they make files: PostgreSQL may run as another user, who must pass their folders."""

_LIBPQ = "PG"
"""How all variables begin that libpq, psql and PostgreSQL's own programs read."""

# How to log in to a database, and whether to believe it; not which one, nor what a session does.
_CREDENTIAL = re.compile(
    r"PG(PASSWORD|PASSFILE|SSL.*|GSS.*|KRB.*|REALM|CHANNELBINDING|REQUIRE.*|.*PROTOCOLVERSION)"
)


def bare(home: Path) -> dict[str, str]:
    """Return an environment with nothing of the caller's but where programs and certificates are.

    Loopback, where all of a lab listens, is reached through no proxy.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    nowhere = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return {"PATH": os.defpath, **kept, "HOME": str(home), "LC_ALL": LOCALE, **nowhere}


def inherited() -> dict[str, str]:
    """Return the caller's environment without what is for other programs than ours.

    That is: for another Python, Airflow, Locust or Node.js. Files are read and written as UTF-8,
    whatever the locale.
    """
    given = os.environ.items()
    kept = {name: value for name, value in given if not _ANOTHER_PROGRAM.match(name)}
    return {**kept, "PYTHONUTF8": "1"}


def forget_libpq(*, credentials: bool) -> None:
    """Drop libpq's variables from this process, and so from all that it starts.

    A lab's own database is addressed in full; PGSERVICE, PGHOSTADDR or PGOPTIONS would lead to
    another, or change what a session does. `credentials`: those stay with which a user logs in to a
    database of his own (PGPASSWORD, PGPASSFILE, PGSSLROOTCERT ..).
    """
    for name in [*os.environ]:
        if name.startswith(_LIBPQ) and not (credentials and _CREDENTIAL.fullmatch(name)):
            del os.environ[name]
