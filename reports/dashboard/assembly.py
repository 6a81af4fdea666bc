"""Builds the site: draws what is to be seen, judges, and writes the pages around it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.redaction import redact
from reports.allure import report
from reports.dashboard.known import explorations, races
from reports.dashboard.pages import Pages
from reports.dashboard.pictures import Drawing, draw, worth_drawing
from reports.dashboard.publish import mark, replacing
from reports.dashboard.race import choose
from reports.dashboard.runs import RunView, anchor, name_places, views
from reports.dashboard.versions import Rating, rate_versions
from reports.gate.checks import decide
from reports.gate.decision import Decision
from reports.gate.outputs import markdown
from reports.gate.policy import Policy
from reports.matrix.table import table
from reports.store import Runs
from run.folder import write_json

PROGRESS = 10
"""Drawings between two lines of progress."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AllureLink:
    """Where the Allure report is, and a line about it; `href` is empty where there is none."""

    href: str
    note: str


@dataclass(frozen=True)
class Content:
    """All that the pages show."""

    problems: Sequence[str]
    decision: Decision
    ratings: Sequence[Rating]
    runs: Sequence[RunView]
    drawn: int
    left_out: int
    allure: AllureLink


def build(runs: Runs, out: Path, policy: Policy, *, allure: bool = True) -> Path:
    """Build the site in `out`, which is replaced whole or not at all; return its front page.

    Raises UserError when `out` cannot be written, or holds something else.
    """
    with replacing(out) as folder:
        log.info("Judging %d runs.", len(runs.folders))
        decision = decide(runs, policy, date.today())
        ratings = rate_versions(runs.folders, decision)
        places = name_places(runs.folders)
        drawings, left_out = _draw(runs, ratings, places, folder)
        not_asked = AllureLink("", "it was not asked for.")
        link = _allure(runs, folder / "allure") if allure else not_asked
        log.info("Writing the pages of %d runs.", len(runs.folders))
        runs = _without_places(runs)
        shown = views(runs.folders, places, drawings)
        content = Content(runs.problems, decision, ratings, shown, len(drawings), left_out, link)
        _write(content, runs, folder)
        mark(folder, len(runs.folders))
    return out / "index.html"


def _without_places(runs: Runs) -> Runs:
    """Name what could not be read by its run: where a machine keeps its runs concerns no reader."""
    return Runs(
        tuple(
            replace(run, problems=tuple(p.replace(f"{run.path.parent}/", "") for p in run.problems))
            for run in runs.folders
        )
    )


def _draw(
    runs: Runs, ratings: Sequence[Rating], places: Mapping[Path, str], site: Path
) -> tuple[dict[str, Drawing], int]:
    """Draw the tests that are shown; return what came of it, and how many are left out."""
    worst = [rating.worst for rating in ratings if rating.worst]
    chosen, left_out = worth_drawing(list(runs.tests), worst)
    homes = {test.folder: site / places[run.path] for run in runs.folders for test in run.tests}
    drawings = {}
    for number, test in enumerate(chosen, 1):
        drawings[test.folder] = draw(test, homes[test.folder] / anchor(test))
        if number % PROGRESS == 0 or number == len(chosen):
            log.info("Timelines: %d of %d.", number, len(chosen))
    return drawings, left_out


def _allure(runs: Runs, into: Path) -> AllureLink:
    try:
        index = report.build(runs, into)
    except UserError as error:
        return AllureLink("", str(error))
    if index is None:
        return AllureLink("", "it needs Node.js and npm, and they are not here.")
    return AllureLink(f"allure/{index.relative_to(into)}", "")


def _hidden(data: Any) -> Any:
    """Redact every text in what is to be JSON; whole JSON cannot be, for it may end up as none."""
    if isinstance(data, Mapping):
        return {key: _hidden(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_hidden(value) for value in data]
    return redact(data) if isinstance(data, str) else data


def _write(content: Content, runs: Runs, site: Path) -> None:
    write_json(site / "gate.json", _hidden(content.decision.to_json()))
    (site / "gate.md").write_text(redact(markdown(content.decision)), encoding="utf-8")
    known = {test.known.scenario: test.known for test in runs.tests if test.known}
    pages = Pages(
        site,
        built=datetime.now(UTC),
        matrix=table(runs),
        known=known,
        decisions={rating.label: rating.decision for rating in content.ratings},
    )
    for view in content.runs:
        pages.write("run.html", view.page, view=view)
    pages.write("matrix.html", "matrix.html")
    explored = explorations(runs)
    pages.write("races.html", "races.html", races=races(runs), explorations=explored)
    rows = content.decision.in_order
    pages.write(
        "index.html",
        "index.html",
        content=content,
        newest=max((view.started for view in content.runs), default=""),
        judged=sum(rating.judged for rating in content.ratings),
        explored=len(explored),
        race=choose(content.ratings, content.runs),
        checks=[(status, list(found)) for status, found in groupby(rows, attrgetter("status"))],
        link={v.record.folder: f"{r.page}#{v.anchor}" for r in content.runs for v in r.tests},
    )
