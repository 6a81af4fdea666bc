"""Runs pytest sessions as subprocesses, for the commands that put a question to several Airflows.

An environment variable says where a session leaves its run folders, and what became of it is read
from there: nothing that pytest prints is parsed. Ctrl-C ends the session as it would in a terminal,
so that its labs come down and what it has found stays; where this process is killed, the kernel
kills the session.
"""

import argparse
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.paths import PROJECT, RUNS_VARIABLE
from common.pipe import count
from common.spawn import end_all, spawn
from lab.environments.pins import pinned
from lab.environments.preparation import prepare
from lab.environments.request import describe
from reports.records import scenario_names
from reports.store import Runs, read_runs

log = logging.getLogger(__name__)

Ask = Callable[["Plan", str, Path], Runs]
"""Puts the question to an Airflow, in a session that leaves its runs in a folder; see `ask`."""

ALL = "all"
"""What `--airflow` takes for all versions that have a pin file."""

PROFILES = {
    "quick": "scenario and not meanwhile",
    "floods": "(scenario or issue) and not meanwhile",
    "whole": "",
}
"""Which tests a profile runs, as a pytest marker expression: the scenarios; those and every
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
        for name in sorted(set(self.scenarios) - set(known)):
            raise UserError(f"There is no scenario {name!r}.", f"There are: {', '.join(known)}.")


def airflows(given: Iterable[str]) -> tuple[str, ...]:
    """Return each Airflow of a command line once; `all` stands for the pinned versions."""
    wide = (each for spec in given for each in (pinned() if spec == ALL else [spec]))
    return tuple(dict.fromkeys(wide))


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare where and with which seed sessions run: the arguments that all campaigns take."""
    parser.add_argument("--lab", choices=["embedded", "kind"], default="embedded")
    parser.add_argument("--schedulers", type=count, default=2, metavar="N")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same for all versions (default: random, kept)"
    )


def plan_of(options: argparse.Namespace, scenarios: Iterable[str], **more: Any) -> Plan:
    """Return the question of a command line; without --seed its seed is a random one."""
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    place = {"lab": options.lab, "schedulers": options.schedulers}
    return Plan(seed, tuple(dict.fromkeys(scenarios)), **place, **more)


def command(plan: Plan, airflow: str) -> list[str]:
    """Return the command line that puts the question to an Airflow.

    A scenario's name is the first thing in the brackets of its tests' ids: so are they chosen.
    """
    line = [sys.executable, "-m", "pytest", "suites", "-q", "--no-header", "-p", "no:cacheprovider"]
    line += ["--show-capture=no", "--color=no", "--depth", "nightly"]
    line += ["--airflow", airflow, "--lab", plan.lab]
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


def ask(plan: Plan, airflow: str, into: Path) -> Runs:
    """Put the question to an Airflow in a session of its own; return the runs it left in `into`.

    Raises UserError, with the file of its output, when pytest left no run. On KeyboardInterrupt
    the session is ended first.
    """
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.iterdir())
    output = into / "pytest.log"
    code = _run(command(plan, airflow), into, output)
    new = set(into.iterdir()) - before
    made = sorted(path for path in new if path.is_dir() and not path.is_symlink())
    if not made:
        raise UserError(
            f"pytest (exit code {code}) ran nothing on Airflow {airflow}.", f"See {output}"
        )
    return read_runs(made)


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
