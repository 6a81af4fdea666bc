"""Draws a test's history: an interactive page, and a still picture of its witness."""

from pathlib import Path

from reports.timeline.page import PAGE, publish, write
from reports.timeline.picture import PICTURE, paint, picture
from reports.timeline.source import open_source
from reports.timeline.survey import survey

__all__ = ["draw", "picture", "write"]


def draw(folder: Path) -> tuple[Path, Path | None]:
    """Write the page and, where a promise was broken, the picture; the history is judged once.

    Raises UserError if there is no history that can be read.
    """
    found = survey(open_source(folder))
    return publish(found, folder / PAGE), paint(found, folder / PICTURE)
