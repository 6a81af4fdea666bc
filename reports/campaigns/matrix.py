"""Runs the same tests on several versions of Airflow, and shows which race each of them has.

reproduced      a run showed the race
clean           every run gave a verdict, and none showed the race; with the highest rate that is
                still possible
unconfirmed     no run gave a verdict, or one broke another promise, or a release that is known
                to be affected did not show the race
not applicable  every run was skipped

The matrix has a folder of its own, with what is asked in plan.json, and a folder for each Airflow,
with the run folders of its sessions. After Ctrl-C, the same command goes on: a version that is
decided is not run again.

examples:
  python -m reports matrix --airflow all
  python -m reports matrix --airflow 3.0.6 --airflow ~/src/airflow --scenario 57618 --count 10
  python -m reports matrix --airflow all --profile floods --into reports/runs/floods
  python -m reports matrix --from reports/runs --markdown matrix.md

Exits 0 when the table is shown, whatever it says: `python -m reports gate` judges.
"""

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from common.errors import UserError
from common.paths import PROJECT
from common.pipe import count
from lab.environments.pins import pinned
from lab.environments.request import describe
from reports.campaigns.sessions import (
    ALL,
    PROFILES,
    Ask,
    Plan,
    add_place,
    airflows,
    ask,
    folder_name,
    plan_of,
)
from reports.matrix.table import table
from reports.records import scenario_names
from reports.store import Runs, read_runs
from reports.terminal import coloured
from run.folder import write_json

log = logging.getLogger(__name__)

PLAN_FILE = "plan.json"
INTO = PROJECT / "reports" / "runs" / "matrix"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--airflow",
        action="append",
        metavar="SPEC",
        help="as pytest's --airflow, repeatable; `all`: the releases pinned in versions/, "
        f"{', '.join(pinned())} (default: all)",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only this one, repeatable; there are {', '.join(scenario_names())}",
    )
    parser.add_argument(
        "--profile",
        choices=list(PROFILES),
        default="quick",
        help="quick: the scenarios; floods: those and the floods that meet a known race; "
        "whole: everything (default: %(default)s)",
    )
    add_place(parser)
    parser.add_argument("--count", type=count, default=1, metavar="N", help="runs of each test")
    parser.add_argument(
        "-n", dest="workers", type=count, default=0, metavar="N", help="pytest-xdist's workers"
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=INTO,
        metavar="FOLDER",
        help="where to keep the matrix (default: reports/runs/matrix)",
    )
    parser.add_argument("--again", action="store_true", help="run decided versions again")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        action="append",
        metavar="RUNS",
        help="run nothing; show these runs",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it in Markdown, too")


def run(options: argparse.Namespace) -> int:
    """Run what is asked for, and show the table; after Ctrl-C, that of what is there."""
    if options.source:
        _show(options.source, options.markdown)
        return 0
    specs = airflows(options.airflow or [ALL])
    for spec in specs:
        describe(spec)
    more = {name: getattr(options, name) for name in ("profile", "count", "workers")}
    asked = plan_of(options, options.scenario, **more)
    plan = planned(options.into, asked, seed_given=options.seed is not None)
    log.info("Seed %d; the runs go into %s", plan.seed, options.into)
    wanted = places(options.into, plan, specs)
    try:
        run_all(plan, wanted, ask, again=options.again)
    finally:
        _show([place for place in wanted.values() if place.exists()], options.markdown)
    return 0


def planned(folder: Path, asked: Plan, *, seed_given: bool) -> Plan:
    """Return the question of the matrix in a folder, and write it down if it is a new one.

    Raises UserError if the folder's matrix asks another one.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(asked))
        return asked
    try:
        there = msgspec.json.decode(path.read_bytes(), type=Plan)
    except msgspec.MsgspecError as error:
        problem = f"{path} is not the plan of a matrix: {error}"
        raise UserError(problem, "Give --into FOLDER.") from None
    there = replace(there, workers=asked.workers)
    meant = asked if seed_given else replace(asked, seed=there.seed)
    if meant != there:
        before, now = asdict(there), asdict(meant)
        differing = [name for name in before if before[name] != now[name]]
        difference = ", ".join(f"{name} {before[name]}, not {now[name]}" for name in differing)
        raise UserError(
            f"{folder} holds a matrix that asks something else: {difference}.",
            "Give another folder (--into FOLDER), or ask the same.",
        )
    return there


def places(folder: Path, plan: Plan, wanted: Iterable[str]) -> dict[str, Path]:
    """Return each Airflow's folder in the matrix's, by its spec.

    What cannot be installed is logged, and left out.
    """
    found = {}
    for spec in wanted:
        try:
            found[spec] = folder / folder_name(plan, spec)
        except UserError as error:
            log.info("%s is left out: %s", spec, error)
    return found


def run_all(plan: Plan, wanted: Mapping[str, Path], ask: Ask, *, again: bool) -> None:
    """Ask every Airflow that is not decided yet; one that cannot be asked stops no other."""
    for spec, place in wanted.items():
        if not again and decided(place):
            log.info("%s: decided already, in %s", spec, place)
            continue
        log.info("%s: asking", spec)
        begun = time.monotonic()
        try:
            runs = ask(plan, spec, place)
        except UserError as error:
            log.info("%s: %s", spec, error)
        else:
            log.info("%s: %s (%.0f s)", spec, _summary(runs), time.monotonic() - begun)


def decided(place: Path) -> bool:
    """Tell whether an Airflow's last session ran to its end, and no question is unconfirmed."""
    try:
        runs = read_runs([place])
    except UserError:
        return False
    last = runs.folders[-1]
    cells = table(runs).cells.values()
    whole = last.session is not None and last.session.ended is not None and not last.missing
    return whole and bool(cells) and all(cell.status != "unconfirmed" for cell in cells)


def _summary(runs: Runs) -> str:
    """Say in a line what a session found."""
    cells = table(runs).cells
    parts = [f"{asked.name} {cell.text(bounds=False)}" for (_, asked), cell in cells.items()]
    return "; ".join(parts) or "no test ended"


def _show(sources: list[Path], file: Path | None) -> None:
    if not sources:
        raise UserError("No Airflow was asked.", "The reasons are above.")
    runs = read_runs(sources)
    for problem in runs.problems:
        log.info("%s", problem)
    matrix = table(runs)
    if not matrix.rows:
        raise UserError("No test can be read from these runs.", "The reasons are above.")
    if file is not None:
        try:
            file.write_text(matrix.markdown())
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}") from error
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    print(matrix.text(colour=coloured(sys.stdout), width=width))
