"""Migrated metadata databases, one a version, made once and cloned for every lab.

A migration takes seconds and the same tables come out of it each time; copying a stopped
server's data directory takes a third of a second.
"""

import hashlib
import logging
import shutil
import subprocess
from pathlib import Path

from common.errors import UserError
from common.files import last_line, made_once
from common.paths import cache_dir
from lab.base import Airflow
from lab.embedded.postgres import Postgres, release
from lab.environments.settings import clean_environment, database_urls

log = logging.getLogger(__name__)


def template_for(airflow: Airflow) -> Path:
    """Return the folder of a stopped server whose database this Airflow has migrated.

    Raises UserError with the last line that `airflow db migrate` wrote when it fails.
    """
    name = hashlib.sha256(f"{airflow.key}/{release()}".encode()).hexdigest()[:12]
    target = cache_dir() / "templates" / f"{airflow.version}-{name}"
    target.parent.mkdir(exist_ok=True)
    return made_once(target, lambda building: _migrate(airflow, building))


def _migrate(airflow: Airflow, directory: Path) -> None:
    log.info("Migrating a database for Airflow %s, once", airflow.label)
    server = Postgres(directory)
    server.initialise()
    server.start()
    home = directory / "home"
    home.mkdir()
    (directory / "tmp").mkdir()
    try:
        env = clean_environment(airflow, home)
        env |= database_urls(airflow, server.port, server.password, "migration")
        done = subprocess.run(
            [str(airflow.python), "-m", "airflow", "db", "migrate"],
            env=env,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Airflow {airflow.label} could not migrate a database: {error}") from error
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(directory / "tmp", ignore_errors=True)
    if done.returncode:
        last = last_line(done.stderr + done.stdout)
        raise UserError(
            f"Airflow {airflow.label} could not migrate its database: {last}",
            "Try that Airflow by hand: PYTHON -m airflow db migrate.",
        )
