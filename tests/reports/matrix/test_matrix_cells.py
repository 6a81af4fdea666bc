"""A cell of the matrix says what the runs of one Airflow prove, and no more."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reports.matrix.cells import Cell, Question, Status, Variant, cell
from reports.records import Ended
from reports.records import TestRecord as Record
from reports.store import RunFolder
from reports.trials import Build, Environment, Trial
from tests.reports.matrix.told import known, record, shown

RACE = Question(True, "57618")
START, FAN_OUT = Variant(RACE, "start-task"), Variant(RACE, "fan-out")
SAFE = known(affected=False)
BY_DESIGN = known(by_design=True)


def trial(record: Record | None = None, ended: Ended | None = None) -> Trial:
    return Trial(
        number=0,
        run=RunFolder(Path("20261122-120000-3.0.6"), None, ()),
        test="a test",
        environment=Environment(Build("3.0.6", "3.0.6"), "embedded", 2),
        expect_known=False,
        ended=ended,
        record=record,
    )


def of(records: Sequence[Record], variant: Variant = START) -> dict[Variant, list[Trial]]:
    return {variant: [trial(record) for record in records]}


@pytest.mark.parametrize(
    ("records", "status", "text"),
    [
        ([shown()] * 20, "reproduced", "reproduced: 20 of 20"),
        ([record(race=SAFE)] * 20, "clean", "clean: 0 of 20, at most 13.9 %"),
        ([shown()] + [record()] * 3, "reproduced", "reproduced: 1 of 4, 0.6 % to 80.6 %"),
        ([record("unknown")] * 2, "unconfirmed", "unconfirmed: 2 unknown"),
        ([shown(), record("unknown")], "reproduced", "reproduced: 1 of 1, 1 unknown"),
        (
            [record(race=SAFE), record("unknown", race=SAFE)],
            "clean",
            "clean: 0 of 1, at most 95.0 %, 1 unknown",
        ),
        (
            [record("invalid", "no-lost-task", race=SAFE), record(race=SAFE)],
            "unconfirmed",
            "unconfirmed: 0 of 1, at most 95.0 %, 1 broke another promise",
        ),
        ([record()] * 2, "unconfirmed", "unconfirmed: 0 of 2, at most 77.6 %"),
    ],
)
def test_runs_of_one_test_come_to(records: list[Record], status: Status, text: str) -> None:
    found = cell(of(records))
    assert found.status == status
    assert found.text() == text


def test_an_affected_release_that_was_forced_and_stayed_clean_is_told() -> None:
    assert cell(of([record()])).never_shown == ("57618 start-task",)


def test_an_affected_release_under_a_flood_may_stay_clean() -> None:
    quiet = known(must_show=False)
    assert cell(of([record(race=quiet)])).status == "clean"


def test_a_scenario_is_not_clean_while_one_permutation_could_not_tell() -> None:
    trials = of([record(race=SAFE)]) | of([record("unknown", race=SAFE)], FAN_OUT)
    assert cell(trials).status == "unconfirmed"


def test_one_permutation_that_shows_the_race_is_enough_and_the_other_one_is_named() -> None:
    found = cell(of([record()]) | of([shown()], FAN_OUT))
    assert found.status == "reproduced"
    assert found.never_shown == ("57618 start-task",)


def test_skipped_runs_count_for_nothing() -> None:
    skipped = {FAN_OUT: [trial(ended=Ended("skipped"))]}
    assert cell(skipped).text() == "not applicable"
    assert cell(skipped | of([record(race=SAFE)])).text() == "clean: 0 of 1, at most 95.0 %"


def test_a_test_that_left_no_verdict_could_not_tell() -> None:
    assert cell({START: [trial()]}).text() == "unconfirmed: 1 unknown"


def test_a_fault_that_is_about_no_race_has_no_rate_of_one() -> None:
    kill = Variant(Question(False, "scheduler kill"))
    good, bad = record(about=False), record("invalid", "executed-once", about=False)
    assert cell(of([good, good], kill)).text() == "clean: 2 valid"
    found: Cell = cell(of([good, bad], kill))
    assert found.text() == "unconfirmed: 1 valid, 1 broke a promise"
    assert found.others == (("executed-once", 1),)


def test_a_limit_of_the_design_is_reproduced_and_known_as_one() -> None:
    found = cell(of([shown(race=BY_DESIGN)]))
    assert found.status == "reproduced"
    assert found.by_design
