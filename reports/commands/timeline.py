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

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from common.errors import UserError
from common.redaction import redact
from oracle import witness
from oracle.events import TaskInstanceEvent
from reports import timeline
from reports.metrics import HISTORY
from reports.timeline.scene import PlacedDeed, Scene, chosen, shortened, stage
from reports.timeline.survey import Survey, surveyed

LINES = 15
"""Lines of prose that are printed of a witness."""

_WIDEST = 20
"""Characters of a column's head."""

_UNBOUNDED = 500
"""Characters; a drawing that is wider than the terminal is not cut, nor is one in a pipe."""


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
    found = surveyed(history)
    names = [timeline.PAGE, timeline.PICTURE]
    if history.name != HISTORY:
        names = [f"{history.stem}{Path(name).suffix}" for name in names]
    page, picture = timeline.draw(history.parent, found, *names)
    print(f"{found.header.run}: {found.verdict}")
    if found.breaks_off:
        print(f"The history breaks off: {found.breaks_off}.")
    Console(highlight=False, width=_UNBOUNDED).print(witness_text(found), end="")
    print(f"timeline: {page}")
    if picture:
        print(f"picture:  {picture}")
    print()


def witness_text(found: Survey) -> Group:
    """Return the witness in at most LINES lines, and the drawing under it; empty without one."""
    prose = redact(witness.text(found.judgement)).splitlines()
    story = chosen(found.judgement)
    drawing = [Text(), drawn(stage(story))] if story else []
    return Group(*(Text(line) for line in prose[:LINES]), *drawing)


def drawn(scene: Scene) -> Table:
    """Draw a column for each actor: `*` acts, `:` is struck or held, arrows reach for the row."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column(justify="right", min_width=11)
    for name in scene.columns:
        head = shortened(name, most=_WIDEST).replace("…", "~")
        table.add_column(Text(head), justify="center", no_wrap=True)
    table.add_column(no_wrap=True)
    for line in scene.lines:
        cells = [_cell(scene, line, place) for place in range(len(scene.columns))]
        broke = f"x {', '.join(line.deed.broke)}" if line.deed.broke else ""
        row = [f"{line.t:.3f} s", *cells, broke]
        table.add_row(*map(Text, row), style="bold red" if broke else "")
    return table


def _cell(scene: Scene, line: PlacedDeed, place: int) -> str:
    if place == scene.row:
        reached = isinstance(line.deed.event, TaskInstanceEvent)
        left = "->" if reached and line.column < place else "  "
        right = "<-" if reached and line.column > place else "  "
        return f"{left} {(_state(line) if line.changed else '|').center(12)} {right}"
    if place == line.column:
        return "*"
    return ":" if place in line.held else "|"


def _state(line: PlacedDeed) -> str:
    return line.state if line.try_number is None else f"{line.state} {line.try_number}"
