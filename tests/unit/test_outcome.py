"""What a judgement makes of a test: red, green or broken, for the right reason only."""

from dataclasses import replace

import pytest

from harness.markers import scenarios
from harness.outcome import Known, Unknown, ended, settle
from oracle.history import read
from oracle.verdict import Judge, Judgement
from reports.records import Ended, worst_end
from tests.oracle.telling import HISTORIES

KNOWN = Known(scenarios()["57618"])


def judged(path: str) -> Judgement:
    header, events = read(HISTORIES / path)
    judge = Judge(header)
    for event in events:
        judge.feed(event)
    return judge.conclude()


@pytest.fixture
def broken() -> Judgement:
    path = next((HISTORIES / "unique-try").glob("invalid-*.ndjson"))
    return judged(f"unique-try/{path.name}")


@pytest.fixture
def sound() -> Judgement:
    path = next((HISTORIES / "unique-try").glob("valid-*.ndjson"))
    return judged(f"unique-try/{path.name}")


@pytest.fixture
def cannot_tell() -> Judgement:
    path = next((HISTORIES / "unique-try").glob("valid-*.ndjson"))
    header, events = read(path)
    judge = Judge(header)
    for event in list(events)[:-1]:
        judge.feed(event)
    return judge.conclude()


def test_a_known_race_is_red_with_its_issue(broken: Judgement) -> None:
    with pytest.raises(pytest.fail.Exception, match="apache/airflow/issues/57618"):
        settle(broken, "3.0.6", KNOWN, expect_known=False, witness="who did what")


def test_a_known_race_that_was_expected_is_green(broken: Judgement) -> None:
    assert settle(broken, "3.0.6", KNOWN, expect_known=True, witness="") == "reproduced 57618"


def test_a_violation_in_a_release_without_the_race_is_red_even_if_expected(
    broken: Judgement,
) -> None:
    with pytest.raises(pytest.fail.Exception, match="who did what"):
        settle(broken, "3.3.2", KNOWN, expect_known=True, witness="who did what")


def test_a_violation_that_no_issue_explains_is_red(broken: Judgement) -> None:
    with pytest.raises(pytest.fail.Exception, match="who did what"):
        settle(broken, "3.0.6", None, expect_known=True, witness="who did what")


def test_a_clean_run_is_green(sound: Judgement) -> None:
    assert settle(sound, "3.3.2", KNOWN, expect_known=False, witness="") == "clean"


def test_an_affected_release_that_stays_clean_is_red_where_the_race_must_show(
    sound: Judgement,
) -> None:
    with pytest.raises(pytest.fail.Exception, match="did not show itself"):
        settle(sound, "3.0.6", KNOWN, expect_known=True, witness="")


def test_an_affected_release_may_stay_clean_where_the_race_need_not_show(sound: Judgement) -> None:
    known = Known(KNOWN.scenario, shows=False)
    assert settle(sound, "3.0.6", known, expect_known=True, witness="") == "clean"


@pytest.mark.parametrize("expect_known", [True, False])
def test_a_run_that_cannot_tell_is_broken_never_green(
    cannot_tell: Judgement, expect_known: bool
) -> None:
    assert cannot_tell.verdict == "unknown"
    with pytest.raises(Unknown, match="The verdict is unknown"):
        settle(cannot_tell, "3.3.2", KNOWN, expect_known=expect_known, witness="")


def test_what_airflow_calls_its_design_is_told_and_fails_no_release(broken: Judgement) -> None:
    design = Known(replace(scenarios()["57618"], by_design=True))
    with pytest.raises(pytest.xfail.Exception, match="who did what"):
        settle(broken, "3.0.6", design, expect_known=False, witness="who did what")


def checks() -> None:
    pytest.fail("Timeout (>3.0s) from pytest-timeout.")


@pytest.mark.parametrize(
    ("when", "outcome"), [("setup", "broken"), ("call", "failed"), ("teardown", "broken")]
)
def test_only_the_test_itself_checks_anything(when: str, outcome: str) -> None:
    call = pytest.CallInfo.from_call(checks, when)  # type: ignore[arg-type]
    assert ended(call, None)[0] == outcome


def test_the_worst_of_several_ends_stands_and_of_equal_ones_the_first() -> None:
    ends = [Ended("passed"), Ended("broken", reason="a"), Ended("broken", reason="b")]
    assert worst_end(*ends).reason == "a"
    assert worst_end(*ends, Ended("failed"), Ended("crashed")).outcome == "crashed"
    assert [Ended(name).red for name in ("passed", "skipped", "xfailed")] == [False] * 3
