"""What the processes of one test session share: where it writes, its seed, and its labs.

Under pytest-xdist the controller decides, and its workers follow: all write into the same
folders and lease from the same pool; the labs die with the controller.
"""

import fcntl
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.paths import cache_folder, runs_dir, session_dir
from harness.options import Options, read_options
from lab.environments.request import describe
from lab.pool import Owner, Pool

SESSION: "pytest.StashKey[Session]" = pytest.StashKey()
"""Where a configuration keeps its session; not there when only the project's own tests run."""

RUNS = runs_dir()

_STAMP = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class Session:
    """One test session."""

    options: Options
    started: str
    owner: Owner

    @staticmethod
    def of(config: pytest.Config, *, alone: bool) -> "Session":
        """Make the controller's session, or take over what the controller gave this worker.

        Where it is `alone`, no other session has its run folders.
        """
        given: dict[str, Any] | None = getattr(config, "workerinput", None)
        if given is None:
            options = read_options(config)
            _require_distinct(options.airflow)
            return Session(options, _own_second() if alone else time.strftime(_STAMP), Owner.me())
        return msgspec.json.decode(given["ha_chaos"], type=Session)

    @property
    def encoded(self) -> str:
        """Return what a worker needs to take part in this session."""
        return msgspec.json.encode(self).decode()

    def folder(self, airflow: str) -> Path:
        """Return the folder of this session's run of one Airflow."""
        return RUNS / f"{self.started}-{slug(airflow)}"

    @property
    def results(self) -> Path:
        """Return the folder of Allure's results, those of all Airflows of the session."""
        return self.folder(self.options.airflow[0]) / "allure-results"

    def label(self, airflow: str) -> str:
        """Return what an Airflow is called for short; a deployment's is its version."""
        return airflow if self.options.cluster else _label(airflow)

    def pool(self) -> Pool:
        """Return the session's labs."""
        root = session_dir(self.owner.pid, self.owner.born)
        return Pool(root, self.options.labs, self.owner)


def _own_second() -> str:
    """Return the time, which run folders are named by: no two sessions begin in one second."""
    with (cache_folder("sessions") / "begun").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = file.read()
        while (now := time.strftime(_STAMP)) == last:
            time.sleep(0.1)
        file.truncate(0)
        file.write(now)
    return now


@functools.cache
def _label(airflow: str) -> str:
    return describe(airflow).label


def _require_distinct(airflows: Sequence[str]) -> None:
    """Raise pytest.UsageError where two Airflows would have one run folder."""
    taken: dict[str, str] = {}
    for airflow in airflows:
        other = taken.setdefault(slug(airflow), airflow)
        if other != airflow:
            raise pytest.UsageError(
                f"--airflow {other} and {airflow} have one name, {slug(airflow)}, and would have "
                "one run folder: give each in a session of its own, or rename one."
            )


def slug(text: str) -> str:
    """Return a name that can be a folder's: of an environment's Python, the environment's."""
    path = Path(text)
    if path.name.startswith("python") and path.parent.name == "bin":
        path = path.parent.parent
    name = path.name if "/" in text else text
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-") or "run"
