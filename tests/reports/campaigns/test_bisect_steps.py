"""A step is decided by what its runs prove, and by no more of them than that takes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from common.errors import UserError
from reports.campaigns.state import _told
from reports.campaigns.step import StopRule, Tried, decide
from reports.records import SCHEMA, Ended, SessionRecord
from reports.records import TestRecord as Record
from reports.store import RunFolder
from tests.reports.matrix.told import known, record, shown

SAFE = known(affected=False)
FAN_OUT = "test_held[57618-fan-out-{place}]"


class Runner:
    """Runs sessions with known ends; what was not foreseen fails the test."""

    def __init__(self, *sessions: Sequence[Record]) -> None:
        self.left = list(sessions)

    def __call__(self, airflow: str) -> Sequence[Record]:
        assert self.left, f"one session too many on {airflow}"
        return self.left.pop(0)


def good() -> Record:
    return record(race=SAFE)


def inconclusive(reason: str = "the gate was not reached") -> Record:
    return record("unknown", reasons=[reason])


def step(runner: Runner, known_runs: Sequence[Record] = (), rate: float = 0.8) -> Tried:
    found = decide("3.1.8", runner, StopRule(rate), known_runs)
    assert not runner.left
    return found


def test_one_run_that_shows_the_race_is_proof() -> None:
    found = step(Runner([shown(), good()]))
    assert (found.verdict, found.hits, found.trials) == ("reproduced", 1, 2)


@pytest.mark.parametrize(("rate", "runs"), [(0.96, 1), (0.8, 2), (0.5, 5), (0.2, 14)])
def test_clean_takes_the_runs_that_the_race_would_have_shown_in(rate: float, runs: int) -> None:
    found = step(Runner(*[[good()]] * runs), rate=rate)
    assert (found.verdict, found.trials) == ("clean", runs)


def test_runs_of_two_builds_are_not_added_up() -> None:
    before = [record(race=SAFE, build="aa11")]
    found = step(Runner([record(race=SAFE, build="bb22")]), before, rate=0.5)
    assert (found.verdict, found.runs) == ("skipped", 2)
    assert found.reason == "its runs are of 2 builds, aa11, bb22, which are not one Airflow"


def test_unknown_runs_count_for_nothing_and_are_made_up_for() -> None:
    found = step(Runner([inconclusive(), good()], [inconclusive()], [good()]))
    assert (found.verdict, found.trials, found.runs) == ("clean", 2, 4)


def test_a_step_that_stays_unknown_is_skipped_and_says_why() -> None:
    found = step(Runner([inconclusive()], [inconclusive()], [inconclusive("the lab was ailing")]))
    assert found.verdict == "skipped"
    assert found.reason == "3 of 3 runs could not tell: the gate was not reached"


def test_another_broken_promise_tells_nothing_of_the_race() -> None:
    other = record("invalid", "no-lost-task", race=SAFE)
    found = step(Runner([other], [other], [other]))
    assert found.verdict == "skipped"
    assert found.reason == "3 of 3 runs could not tell: broke no-lost-task"


def test_it_is_not_clean_while_a_permutation_was_never_told() -> None:
    other = record("unknown", test=FAN_OUT, race=SAFE)
    told = record(test=FAN_OUT, race=SAFE)
    found = step(Runner([good(), other], [good(), other], [good(), told]))
    assert (found.verdict, found.trials) == ("clean", 4)


def test_runs_of_an_interrupted_step_count() -> None:
    assert step(Runner([good()]), [good()]).verdict == "clean"
    assert step(Runner(), [shown()]).verdict == "reproduced"


def test_what_cannot_be_installed_is_skipped_with_its_reason() -> None:
    def runner(airflow: str) -> Sequence[Record]:
        raise UserError(f"Airflow {airflow} does not start", "a hint")

    assert decide("3.1.1", runner, StopRule()).text() == (
        "3.1.1: skipped, Airflow 3.1.1 does not start"
    )


def test_a_session_without_a_test_ends_in_a_skip() -> None:
    assert step(Runner([], [], [])).reason == "no test ended"


def test_a_test_that_ended_without_a_verdict_could_not_tell(tmp_path: Path) -> None:
    """As one whose worker died: a permutation of which nobody told is not clean."""
    other = "suites/test_duplicate_tries.py::test_held[57618-fan-out-embedded-3.0.6]"
    skipped = other.replace("fan-out", "late")
    there = record()
    session = SessionRecord(
        schema=SCHEMA, session="s", started="2026-11-30T00:00:00Z", airflow="3.0.6",
        lab="embedded", schedulers=2, seed=1, collected=[there.test, other, skipped],
        tests={there.test: Ended("passed"), other: Ended("crashed"), skipped: Ended("skipped")},
    )  # fmt: skip
    found = _told(RunFolder(tmp_path, session, (there,), ()))
    assert [(each.test, each.verdict) for each in found] == [
        (there.test, "valid"),
        (other, "unknown"),
    ]
