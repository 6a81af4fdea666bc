"""Chooses the violation that the front page draws large, and says where everything of it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.dashboard.runs import RunView, TestView
from reports.dashboard.versions import PROMISES, Rating, gravity
from reports.records import TestRecord


@dataclass(frozen=True)
class Race:
    """A violation with its picture, the SVG's text, and its witness in words."""

    rating: Rating
    test: TestRecord
    page: str
    svg: str
    timeline: str
    picture: str
    witness: str

    @property
    def heading(self) -> str:
        """What is drawn: not every broken promise is a race."""
        return "The race, drawn" if self.test.shows_known else "What went wrong, drawn"

    @property
    def lead(self) -> str:
        """What goes wrong, in a sentence."""
        if self.test.shows_known and self.test.known:
            return f"{self.test.known.title}."
        first = next((name for name in PROMISES if name in self.test.broken), "")
        return f"A promise was broken: “{PROMISES.get(first, first)}”."

    @property
    def issue(self) -> str:
        """The URL of its issue, if it has one."""
        known = self.test.known if self.test.shows_known else None
        return known.issue if known and known.issue.startswith("http") else ""


def choose(ratings: Sequence[Rating], shown: Sequence[RunView]) -> Race | None:
    """Take the gravest violation of the versions that are not safe, else of any."""
    found = [(rating, rating.worst) for rating in ratings if rating.worst]
    if not found:
        return None
    places = {view.record.folder: (run, view) for run in shown for view in run.tests}
    return _race(*max(found, key=_weight), places)


def _weight(shown: tuple[Rating, TestRecord]) -> tuple[bool, tuple[bool, bool, int]]:
    rating, worst = shown
    return rating.decision.exit_code == 1, gravity(worst)


def _race(rating: Rating, test: TestRecord, places: Mapping[str, tuple[RunView, TestView]]) -> Race:
    run, view = places[test.folder]
    picture = view.drawing.picture if view.drawing else ""
    return Race(
        rating=rating,
        test=test,
        page=f"{run.page}#{view.anchor}",
        svg=f"{run.place}/{view.anchor}/witness.svg" if picture else "",
        timeline=f"{run.place}/{view.timeline}" if view.timeline else "",
        picture=picture,
        witness=view.witness,
    )
