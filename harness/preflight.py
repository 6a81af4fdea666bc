"""Makes sure, before the first test, that there is what every test of the session needs.

What is missing then would be missing in each test: it is reported once, as a usage error, by the
process that speaks for the session, before pytest-xdist starts a worker.
"""

import errno
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from common.errors import UserError
from common.paths import RUNS_VARIABLE, cache_folder, writable
from harness.labs import wanted_lab
from harness.markers import scenarios
from harness.options import Options
from harness.options_cluster import require_room
from harness.session import RUNS, Session
from lab.embedded import postgres
from lab.environments.asking import require_known, unknown
from lab.environments.pins import newest
from lab.environments.preparation import foresee
from lab.environments.request import describe
from lab.environments.settings import option_of
from lab.kind.helm.values import layers_for
from lab.life import require_disk
from lab.spec import LabSpec
from load.userdags import chosen, dag_ids

_LOOKS_ONLY = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
"""Options of pytest's with which no test is run."""

_NEEDED_BYTES = 100_000_000
"""What is to be free for runs; one of a flood is 5 to 20 MB."""


def looks_only(config: pytest.Config) -> bool:
    """Tell whether this session is only to show what there is."""
    return any(getattr(config.option, name, False) for name in _LOOKS_ONLY)


def runs_tests(config: pytest.Config) -> bool:
    """Tell whether this session is going to run tests, and is not somebody's worker."""
    return not hasattr(config, "workerinput") and not looks_only(config)


def prepare(config: pytest.Config, session: Session) -> Session:
    """Make what the session's labs are made of; pytest.UsageError with one line where it fails.

    Returns the session with what was found out: which of the user's DAGs are flooded.

    That is an environment for each Airflow or, for a kind lab, the cluster, the chart and the
    images; in somebody else's deployment, that the recorder could be put into its database. Warm it
    takes well under a second an Airflow. A session that fails here leaves nothing: Allure's plugin
    made its folder before.
    """
    try:
        if session.options.lab == "embedded":
            require_disk()
            postgres.binaries()
        if session.options.cluster is None:
            made = _make(config, session.options)
            if session.options.lab == "embedded":
                check_settings(config, session.options, made)
            return replace(session, options=_with_dags(session.options, made))
        require_room(session.options.cluster.attachment)
        return session
    except BaseException as error:
        leave_nothing(session)
        if isinstance(error, UserError | OSError):
            raise pytest.UsageError(str(error)) from error
        raise


def foresee_all(config: pytest.Config, options: Options) -> None:
    """Refuse, where one only looks, what a run would refuse at once, in the line of the run.

    What it takes the network, Docker or an environment to know is left to the run; of a version
    that nobody pinned, the terminal says so.
    """
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    for spec in () if options.cluster else options.airflow:
        with _told_of(options, spec):
            _check_layers(spec, options)
            left_open = foresee(spec) if options.lab == "embedded" else ""
        if left_open and terminal:
            terminal.write_line(left_open)


def _with_dags(options: Options, labs: Iterable[LabSpec]) -> Options:
    """Return the options with the ids of the DAGs that are flooded, the same in each Airflow.

    Raises UserError where one of them does not import all files, or --flood-dags names none.
    """
    if not options.dags:
        return options
    ids = [dag_ids(lab.airflow, Path(options.dags)) for lab in labs]
    everywhere = [each for each in ids[0] if all(each in others for others in ids)]
    return replace(options, flood_dags=chosen(everywhere, options.flood_dags))


def require_folders() -> None:
    """See that runs and labs can be kept; pytest.UsageError with one line where they cannot."""
    try:
        for name in ("environments", "labs", "leftovers", "sessions", "templates"):
            cache_folder(name)
        made = [each for each in (RUNS, *RUNS.parents) if not each.exists()]
        free = shutil.disk_usage(writable(RUNS, "Runs")).free
        if free < _NEEDED_BYTES:
            raise UserError(
                f"Runs cannot be kept in {RUNS}: its disk has {free / 1e6:.1f} MB free.",
                f"Free some, or set {RUNS_VARIABLE} to a folder on a larger disk.",
            )
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


@contextmanager
def room_on_disk() -> Iterator[None]:
    """End the session, with one line, when the disk of its runs is full: nothing more is shown."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        pytest.exit(
            f"The disk of {RUNS} is full. Free some, or set {RUNS_VARIABLE} to a folder on a "
            "larger one.",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )


def leave_nothing(session: Session) -> None:
    """Take away the empty folders of a session in which no test was to run."""
    for folder in (session.results, session.results.parent):
        with suppress(OSError):
            folder.rmdir()


def _make(config: pytest.Config, options: Options) -> list[LabSpec]:
    made = []
    with _progress_shown(config):
        for spec in options.airflow:
            with _told_of(options, spec):
                _check_layers(spec, options)
                made.append(wanted_lab(spec, options))
    return made


def check_settings(config: pytest.Config, options: Options, labs: Iterable[LabSpec]) -> None:
    """See that each Airflow has the options that --set and the scenarios set; UserError if not.

    A scenario is one text for all releases. The newest pinned one has all of its options; an older
    one may have got one later, where it is told with -v, and a newer one may have dropped one,
    where it is told: both go by their defaults.
    """
    for airflow in (lab.airflow for lab in labs):
        require_known(airflow, {f"--set {option_of(name)}": name for name in options.settings})
        wanted = _set_by_scenarios(options, airflow.version)
        here, pinned = Version(airflow.version), Version(newest())
        if here == pinned:
            require_known(airflow, wanted)
        elif here > pinned or config.option.verbose > 0:
            terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
            for wrong in unknown(airflow, wanted):
                terminal.write_line(str(wrong))


def _set_by_scenarios(options: Options, version: str) -> dict[str, str]:
    """Return the variables that a version's scenarios set, by where; own DAGs have no scenarios."""
    return {
        each.place_of(name): name
        for each in scenarios().values()
        if each.can_be_in(version) and not options.dags
        for name in each.lines
    }


def _check_layers(spec: str, options: Options) -> None:
    if options.lab == "kind":
        layers_for(describe(spec).version, options.kind.layers)


@contextmanager
def _told_of(options: Options, spec: str) -> Iterator[None]:
    """Make one line of what is wrong with an Airflow of --airflow: pytest.UsageError."""
    try:
        yield
    except (UserError, OSError) as error:
        line = " ".join(str(error).split())
        raise pytest.UsageError(f"--lab {options.lab} --airflow {spec}: {line}") from error


@contextmanager
def _progress_shown(config: pytest.Config) -> Iterator[None]:
    """Show what takes its time meanwhile, unless pytest shows the log itself."""
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or config.getoption("log_cli_level", None) or config.getini("log_cli"):
        yield
        return
    logger = logging.getLogger("lab")
    handler, level = _Lines(terminal), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, terminal: Any) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.write_line(record.getMessage())
