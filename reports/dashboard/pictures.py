"""Brings timelines and pictures into the site: of the tests that are shown, and of no others.

A timeline is a whole page with its plotting library, so two hundred runs of history must not
have two hundred of them. What was drawn before is taken as it is while it is newer than its
history.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.redaction import redact
from oracle.history import HistoryError
from reports import timeline
from reports.metrics import HISTORY
from reports.records import TestRecord
from reports.timeline.picture import paint
from reports.timeline.survey import surveyed

CAP = 60
"""Tests that are drawn, at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawing:
    """What was drawn of a test; `picture` is the SVG's text; `trouble` says why nothing was."""

    timeline: bool = False
    picture: str = ""
    trouble: str = ""


def worth_drawing(
    tests: Sequence[TestRecord], first: Iterable[TestRecord] = (), cap: int = CAP
) -> tuple[list[TestRecord], int]:
    """Choose the tests to draw, and count those that the cap leaves out.

    `first` are drawn whatever else is; then the newest of each test in each environment, those
    with a violation before the others; then every older violation, the newest first. `tests` are
    in order of time.
    """
    newest = {(test.environment, test.test): test for test in tests}
    latest = sorted(newest.values(), key=lambda test: not test.broken)
    older = [test for test in reversed(tests) if test.broken]
    chosen = list({test.folder: test for test in [*first, *latest, *older]}.values())
    return chosen[:cap], max(0, len(chosen) - cap)


def draw(test: TestRecord, into: Path) -> Drawing:
    """Put a test's timeline, and its picture if it shows a violation, into the folder `into`."""
    folder = Path(test.folder)
    if not (folder / HISTORY).exists():
        return Drawing(trouble="It left no history.")
    page = folder / timeline.PAGE
    still: Path | None = folder / timeline.PICTURE
    try:
        if not _fresh(page):
            _, still = timeline.draw(folder)
        elif test.broken and still and not _fresh(still):
            still = paint(surveyed(folder), still)
        into.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, into / timeline.PAGE)
        picture = redact(still.read_text()) if test.broken and still else ""
        if picture:
            (into / timeline.PICTURE).write_text(picture)
    except (UserError, HistoryError, OSError) as error:
        log.info("No timeline of %s: %s", folder, redact(str(error)))
        return Drawing(trouble=f"It could not be drawn: {error}")
    return Drawing(timeline=True, picture=picture)


def _fresh(path: Path) -> bool:
    """Tell whether something was drawn of its history as it is now."""
    history = path.with_name(HISTORY)
    return path.exists() and path.stat().st_mtime >= history.stat().st_mtime
