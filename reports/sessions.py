"""Runs pytest sessions as subprocesses, for the commands that put a question to several Airflows.

A session is told where to leave its run folders, and what became of it is read from there: nothing
that pytest prints is parsed. Ctrl-C ends the session as it would in a terminal, so that its labs
come down and what it has found stays; where this process is killed, the kernel kills the session.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.paths import PROJECT
from common.spawn import end_all, spawn
from lab.environments.pins import pinned
from lab.environments.preparation import prepare
from lab.environments.request import describe
from reports.store import Shelf, read_shelf

log = logging.getLogger(__name__)

SCENARIOS = PROJECT / "suites" / "scenarios"

RUNS_VARIABLE = "HA_CHAOS_RUNS"
"""The environment variable that names the folder in which a session makes its run folders."""

ALL = "all"
"""What `--airflow` takes for all versions that have a pin file."""

PROFILES = {"quick": "scenario", "floods": "scenario or issue", "whole": ""}
"""Which tests a profile runs, as a pytest marker expression: the gated scenarios; those and every
flood that meets a known race; all."""

_GRACE = 60.0
"""Seconds that an interrupted session has to take its labs down."""


@dataclass(frozen=True)
class Plan:
    """What is put to an Airflow: the same tests, lab and seed, whichever Airflow it is.

    `scenarios`: only these, all of the profile's if empty. `count`: how often each test runs.
    `workers`: pytest-xdist's, none if 0.
    """

    seed: int
    scenarios: tuple[str, ...] = ()
    profile: str = "quick"
    lab: str = "embedded"
    schedulers: int = 2
    count: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if self.scenarios and self.profile != "quick":
            raise UserError(
                f"The profile {self.profile} cannot be limited to scenarios.",
                "Leave --scenario out, or give --profile quick.",
            )
        known = scenario_names()
        for name in self.scenarios:
            if name not in known:
                raise UserError(
                    f"There is no scenario {name!r}.", f"There are: {', '.join(known)}."
                )


@dataclass(frozen=True)
class Answer:
    """What a session left: its runs (none if it did not begin), and pytest's own output."""

    shelf: Shelf
    exit_code: int
    seconds: float
    output: Path


def airflows(given: Iterable[str]) -> tuple[str, ...]:
    """Return each Airflow of a command line once; `all` stands for the pinned versions."""
    wide = (each for spec in given for each in (pinned() if spec == ALL else [spec]))
    return tuple(dict.fromkeys(wide))


def scenario_names() -> list[str]:
    """Return the names of the suites' scenarios."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def command(plan: Plan, airflow: str) -> list[str]:
    """Return the command line that puts the question to an Airflow.

    A gated test's id begins with its scenario's name, behind the bracket: so is it chosen.
    """
    line = [sys.executable, "-m", "pytest", "suites", "-q", "--no-header", "-p", "no:cacheprovider"]
    line += ["--show-capture=no", "--color=no", "--airflow", airflow, "--lab", plan.lab]
    line += ["--schedulers", str(plan.schedulers), "--seed", str(plan.seed)]
    if markers := PROFILES[plan.profile]:
        line += ["-m", markers]
    if plan.scenarios:
        line += ["-k", " or ".join(f"[{name}-" for name in plan.scenarios)]
    if plan.count > 1:
        line += ["--count", str(plan.count)]
    if plan.workers:
        line += ["-n", str(plan.workers)]
    return line


def folder_name(plan: Plan, airflow: str) -> str:
    """Return the name of an Airflow's folder among those that are asked the same.

    It changes with the installed code: a checkout that was edited since is another Airflow, and
    its old runs say nothing of it. The environment is made for it; raises UserError where that
    fails. Clusters run images, of releases only.
    """
    return prepare(airflow).key if plan.lab == "embedded" else describe(airflow).label


def ask(plan: Plan, airflow: str, into: Path) -> Answer:
    """Put the question to an Airflow in a session of its own, which leaves its runs in `into`.

    Raises UserError, with the file of its output, when pytest left no run. On KeyboardInterrupt
    the session is ended first.
    """
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.iterdir())
    output = into / "pytest.log"
    begun = time.monotonic()
    code = _run(command(plan, airflow), into, output)
    made = sorted(path for path in set(into.iterdir()) - before if _is_run(path))
    if not made:
        raise UserError(
            f"pytest (exit code {code}) ran nothing on Airflow {airflow}.", f"See {output}"
        )
    return Answer(read_shelf(made), code, time.monotonic() - begun, output)


def _is_run(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _run(line: Sequence[str], into: Path, output: Path) -> int:
    env = {**os.environ, RUNS_VARIABLE: str(into.resolve()), "PYTHONUNBUFFERED": "1"}
    child = spawn(line, env=env, cwd=PROJECT, log=output)
    try:
        return child.wait()
    except KeyboardInterrupt:
        log.info("Interrupted: the session takes its labs down.")
        _interrupt(child)
        raise


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """End a session as Ctrl-C does, and by force if it, or a second Ctrl-C, will not wait."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(_GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with contextlib.suppress(KeyboardInterrupt):
            end_all([child.pid], grace=5.0)
        child.wait()
