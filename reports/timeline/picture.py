"""The witness as a still picture, for a page that shows pictures and for people in a hurry."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from common.redaction import redact
from reports.timeline.canvas import draw
from reports.timeline.choice import chosen
from reports.timeline.scene import stage
from reports.timeline.source import open_source
from reports.timeline.survey import Survey, survey

PICTURE: Final = "witness.svg"

_STEADY: Any = {
    "svg.hashsalt": "airflow-ha-chaos",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "hatch.linewidth": 0.8,
    "text.parse_math": False,
}
"""The same history gives the same bytes, on any machine; matplotlib carries this font itself."""


def picture(folder: Path) -> Path | None:
    """Draw the witness as `witness.svg` and `witness.png` in a test's folder.

    Returns the path of the former; None if no promise was broken, or by no task instance in
    particular. Raises UserError if there is no history that can be read.
    """
    return paint(survey(open_source(folder)), folder / PICTURE)


def paint(found: Survey, path: Path) -> Path | None:
    """Draw the witness of a history that was surveyed already, as SVG and beside it as PNG."""
    story = chosen(found.judgement)
    if story is None:
        return None
    header = found.source.header
    title = redact(f"Airflow {header.airflow}, {header.lab}: {story.ti}")
    first = min(story.violations, key=lambda violation: violation.t)
    promise = redact(f"{first.invariant}: {first.message}.")
    names = dict.fromkeys(v.invariant for v in story.violations if v.invariant != first.invariant)
    if names:
        promise += f" Also broken: {', '.join(names)}."
    with mpl.rc_context(_STEADY):
        drawn = draw(stage(story), title, promise)
        drawn.savefig(path, metadata={"Date": None, "Title": title, "Description": promise})
        drawn.savefig(path.with_suffix(".png"), dpi=130, metadata={"Software": None})
    return path
