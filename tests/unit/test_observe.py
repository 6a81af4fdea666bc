"""An observation says first what it will not see."""

from types import SimpleNamespace
from typing import Any, cast

from harness.observe import Observation
from run.run import Run


def test_what_is_not_covered_is_said_before_anything_is_observed() -> None:
    told: list[str] = []
    stated: list[tuple[Any, ...]] = []
    lab = SimpleNamespace(not_covered=("worker pods in team-a",), unidentified="")
    run = SimpleNamespace(
        lab=lab,
        recorder=SimpleNamespace(gaps=[], trouble=""),
        so_far=lambda: {"runs": 2},
        assume=lambda *what: stated.append(what),
    )
    Observation(cast("Run", run), 0.1, told.append).watch()
    assert told[0] == "Not covered: worker pods in team-a"
    assert told[1].startswith("Observing for 0 s")
    assert stated == [("schedulers-told-apart", True, "yes", "yes")]


def test_what_makes_the_verdict_unknown_is_said_before_hours_are_spent() -> None:
    told: list[str] = []
    stated: list[tuple[Any, ...]] = []
    run = SimpleNamespace(
        lab=SimpleNamespace(not_covered=(), unidentified="nobody is known"),
        recorder=SimpleNamespace(gaps=[], trouble=""),
        so_far=lambda: {"runs": 2},
        assume=lambda *what: stated.append(what),
    )
    Observation(cast("Run", run), 0.1, told.append).watch()
    assert told[0] == "The verdict will be unknown: nobody is known"
    assert stated == [("schedulers-told-apart", False, "nobody is known", "yes")]


def test_a_gap_is_told_when_it_comes_and_the_database_s_absence_with_the_progress() -> None:
    told: list[str] = []
    gaps: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        if not gaps:
            gaps.append("another server answers")

    run = SimpleNamespace(
        lab=SimpleNamespace(not_covered=(), unidentified=""),
        recorder=SimpleNamespace(gaps=gaps, trouble="without the database for 40 s: no route"),
        so_far=lambda: {"runs": 2},
        assume=lambda *_: None,
    )
    Observation(cast("Run", run), 0.9, say).watch()
    assert told.count("Gap: another server answers") == 1
    assert told[-1] == "0.0 min: 2 runs; 1 gaps; without the database for 40 s: no route"
