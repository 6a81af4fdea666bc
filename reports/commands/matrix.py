"""`python -m reports matrix`: run versions against scenarios, and show the table."""

import argparse
import logging
import os
import random
import shutil
import sys
from pathlib import Path

from common.errors import UserError
from common.paths import PROJECT
from lab.environments.pins import pinned
from lab.environments.request import describe
from reports.matrix import campaign, table
from reports.sessions import ALL, PROFILES, Plan, airflows, ask, scenario_names
from reports.store import read_shelf

log = logging.getLogger(__name__)

DESCRIPTION = """\
Puts the same question to several versions of Airflow, and shows which race each of them has.

reproduced      a run showed the race
clean           all runs could tell, and none showed it; with the rate that it can have at most
unconfirmed     no run could tell, or one broke another promise, or a release that is known to be
                affected did not show it
not applicable  all runs were skipped, here

Ctrl-C keeps what is there; the same command goes on from there, for a version that is decided in
the matrix's folder is not run again."""

EPILOG = """\
examples:
  python -m reports matrix --airflow all
  python -m reports matrix --airflow 3.0.6 --airflow ~/src/airflow --scenario 57618 --count 10
  python -m reports matrix --airflow all --profile floods --into reports/runs/floods
  python -m reports matrix --from reports/runs --markdown matrix.md

Exits 0 when the table is shown, whatever it says: `python -m reports gate` judges."""

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
        help="quick: the gated scenarios; floods: those and the floods that meet a known race; "
        "whole: everything (default: %(default)s)",
    )
    add_place(parser)
    parser.add_argument("--count", type=positive, default=1, metavar="N", help="runs of each test")
    parser.add_argument(
        "-n", dest="workers", type=positive, default=0, metavar="N", help="pytest-xdist's workers"
    )
    parser.add_argument(
        "--into", type=Path, default=INTO, metavar="FOLDER", help="the matrix's folder"
    )
    parser.add_argument("--again", action="store_true", help="run also what is decided")
    parser.add_argument(
        "--from", dest="source", type=Path, action="append", metavar="RUNS", help="run nothing"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it in Markdown, too")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare where and with which seed sessions run; `bisect` takes the same."""
    parser.add_argument("--lab", choices=["embedded", "kind"], default="embedded")
    parser.add_argument("--schedulers", type=positive, default=2, metavar="N")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same for all versions (default: random, kept)"
    )


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def run(options: argparse.Namespace) -> int:
    """Run what is asked for, and show the table; after Ctrl-C, that of what is there."""
    if options.source:
        _show(options.source, options.markdown)
        return 0
    plan, wanted = _asked(options)
    try:
        campaign.run(plan, wanted, ask, again=options.again)
    finally:
        _show([place for place in wanted.values() if place.exists()], options.markdown)
    return 0


def _asked(options: argparse.Namespace) -> tuple[Plan, dict[str, Path]]:
    specs = airflows(options.airflow or [ALL])
    for spec in specs:
        describe(spec)
    plan = Plan(
        seed=random.randrange(1_000_000) if options.seed is None else options.seed,
        scenarios=tuple(dict.fromkeys(options.scenario)),
        profile=options.profile,
        lab=options.lab,
        schedulers=options.schedulers,
        count=options.count,
        workers=options.workers,
    )
    plan = campaign.planned(options.into, plan, seed_given=options.seed is not None)
    log.info("Seed %d; the runs go into %s", plan.seed, options.into)
    return plan, campaign.places(options.into, plan, specs)


def _show(sources: list[Path], file: Path | None) -> None:
    if not sources:
        raise UserError("No Airflow was asked.", "See what is told above.")
    shelf = read_shelf(sources)
    for problem in shelf.problems:
        log.info("%s", problem)
    matrix = table(shelf)
    if not matrix.rows:
        raise UserError("No test can be read from these runs.", "See what is told above.")
    if file is not None:
        try:
            file.write_text(matrix.markdown())
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}") from error
    tty = sys.stdout.isatty()
    colour = tty and not os.environ.get("NO_COLOR")
    print(matrix.text(colour=colour, width=shutil.get_terminal_size().columns if tty else 120))
