"""Chooses the violation that the front page draws large, and says where everything of it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.dashboard.runs import RunView
from reports.dashboard.versions import Rating, gravity, what_broke
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
        return "The race, drawn" if self.test.shown else "What went wrong, drawn"

    @property
    def lead(self) -> str:
        """What goes wrong, in a sentence."""
        return f"{what_broke(self.test)}."

    @property
    def issue(self) -> str:
        """The URL of its issue, if it has one."""
        return self.test.shown.url if self.test.shown else ""


def choose(ratings: Sequence[Rating], shown: Sequence[RunView]) -> Race | None:
    """Take the gravest violation of the versions that are not safe, else of any."""
    found = [(rating, rating.worst) for rating in ratings if rating.worst]
    if not found:
        return None
    places = {view.record.folder: (run, view) for run in shown for view in run.tests}
    rating, test = max(found, key=lambda each: (each[0].decision.exit_code == 1, gravity(each[1])))
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
