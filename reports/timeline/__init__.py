"""Draws a test's history: an interactive page, and a still picture of its witness.

    history --> Survey --+--> page.py: timeline.html (figures.py, overview.py; assets/ in a browser)
    (survey.py)          +--> picture.py: witness.svg, witness.png (scene.py)

A `Surveyor` goes along while somebody judges the events, and collects what is drawn (collection.py:
a track for each task instance, bars for what disturbed them, counts over time for everything).
What is drawn is made of its `Survey` alone. The plotting libraries take seconds to import: who only
collects, or draws nothing, spares them.
"""

from pathlib import Path

from reports.metrics import HISTORY
from reports.timeline.survey import Survey, complete, surveyed

PAGE = "timeline.html"
PICTURE = "witness.svg"


def draw(
    folder: Path, found: Survey | None = None, page: str = PAGE, picture: str = PICTURE
) -> tuple[Path, Path | None]:
    """Write a history's page and, where a promise was broken, the picture of how; return the paths.

    The history is the folder's own, gone through once, unless it was `found` out about already.
    Raises UserError if there is no history that can be read.
    """
    from reports.timeline.page import publish
    from reports.timeline.picture import paint

    found = complete(found, folder / HISTORY) if found else surveyed(folder)
    return publish(found, folder / page), paint(found, folder / picture)
