"""Draws the history of each test: timeline.html, a page to explore that needs no network.

Where a promise was broken, also witness.svg and witness.png, a picture of how that came about.

examples:
  python -m reports timeline reports/runs/latest
  python -m reports timeline reports/runs/latest/tests/test_held-57618-start-task-embedded-3.0.6
  python -m reports timeline somewhere/history.ndjson

exit codes: 0, or 2 if any history could not be read.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from reports.timeline.page import PAGE, publish
from reports.timeline.picture import PICTURE, paint
from reports.timeline.source import HISTORY, open_source
from reports.timeline.survey import survey
from reports.timeline.terminal import tell


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its arguments."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="a run folder, the folder of one test, or a history",
    )


def run(options: argparse.Namespace) -> int:
    """Draw every history; one that cannot be read costs a line and the exit code."""
    code = 0
    for history in dict.fromkeys(history for path in options.runs for history in _histories(path)):
        try:
            _draw(history)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    return code


def _histories(path: Path) -> Iterator[Path]:
    """Find the histories that a path stands for; a test without one is reported when opened."""
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Give a run folder, a test's folder, a history.")
    if path.is_file() or (path / HISTORY).exists():
        yield path if path.is_file() else path / HISTORY
        return
    tests = [test for test in sorted((path / "tests").glob("*")) if test.is_dir()]
    if not tests:
        raise UserError(f"There is no {HISTORY} in {path}.", "Give a run or test folder.")
    yield from (test / HISTORY for test in tests)


def _draw(history: Path) -> None:
    found = survey(open_source(history))
    own = history.name == HISTORY
    page = history.with_name(PAGE if own else f"{history.stem}.html")
    still = history.with_name(PICTURE if own else f"{history.stem}.svg")
    publish(found, page)
    painted = paint(found, still)
    print(f"{found.source.header.run}: {found.verdict}")
    if found.source.broken:
        print(f"The history breaks off: {found.source.broken}.")
    for line in tell(found):
        print(line)
    print(f"timeline: {page}")
    if painted:
        print(f"picture:  {painted}")
    print()
