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

import reports.timeline
from common.errors import UserError
from common.redaction import redact
from oracle.history import HistoryError
from reports.records import TestRecord

CAP = 60
"""Tests that are drawn, at most."""

HISTORY = "history.ndjson"
TIMELINE = "timeline.html"
PICTURE = "witness.svg"

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
    try:
        timeline = _fresh(folder, TIMELINE) or reports.timeline.write(folder)
        picture = _picture(folder) if test.broken else ""
        into.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(timeline, into / TIMELINE)
        if picture:
            (into / PICTURE).write_text(picture)
    except (UserError, HistoryError, OSError) as error:
        log.info("No timeline of %s: %s", folder, redact(str(error)))
        return Drawing(trouble=f"It could not be drawn: {error}")
    return Drawing(timeline=True, picture=picture)


def _picture(folder: Path) -> str:
    path = _fresh(folder, PICTURE) or reports.timeline.picture(folder)
    return redact(path.read_text()) if path else ""


def _fresh(folder: Path, name: str) -> Path | None:
    path, history = folder / name, folder / HISTORY
    if path.exists() and path.stat().st_mtime >= history.stat().st_mtime:
        return path
    return None
