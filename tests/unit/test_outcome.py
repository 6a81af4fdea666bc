"""What a judgement makes of a test: red, green or broken, for the right reason only."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.markers import scenarios
from harness.outcome import KnownRace, Unknown, ended, settle
from oracle.history import read
from oracle.verdict import Judge, Judgement
from reports.records import Ended, TestRecord, worst_end
from tests.oracle.telling import HISTORIES

KNOWN = KnownRace(scenarios()["57618"])


def judged(path: Path, *, whole: bool = True) -> Judgement:
    header, events = read(path)
    judge = Judge(header)
    for event in list(events) if whole else list(events)[:-1]:
        judge.feed(event)
    return judge.conclude()


def record(
    judgement: Judgement, version: str, known: KnownRace | None, *, expect_known: bool
) -> TestRecord:
    return TestRecord(
        schema=1,
        test="t",
        airflow=version,
        version=version,
        lab="embedded",
        schedulers=2,
        seed=1,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        violations=judgement.by_invariant,
        known=known.of(version) if known else None,
        expect_known=expect_known,
    )


@pytest.fixture
def broken() -> Judgement:
    return judged(next((HISTORIES / "unique-try").glob("invalid-*.ndjson")))


@pytest.fixture
def sound() -> Judgement:
    return judged(next((HISTORIES / "unique-try").glob("valid-*.ndjson")))


@pytest.fixture
def cannot_tell() -> Judgement:
    return judged(next((HISTORIES / "unique-try").glob("valid-*.ndjson")), whole=False)


def test_a_known_race_is_red_with_its_issue(broken: Judgement) -> None:
    with pytest.raises(pytest.fail.Exception, match="apache/airflow/issues/57618"):
        settle(record(broken, "3.0.6", KNOWN, expect_known=False), "who did what")


def test_a_known_race_that_was_expected_is_green(broken: Judgement) -> None:
    assert settle(record(broken, "3.0.6", KNOWN, expect_known=True), "") == "reproduced 57618"


@pytest.mark.parametrize("expect_known", [False, True])
@pytest.mark.parametrize("by_design", [False, True])
def test_what_is_new_beside_a_known_race_is_red(
    broken: Judgement, expect_known: bool, by_design: bool
) -> None:
    made = record(broken, "3.0.6", KNOWN, expect_known=expect_known)
    assert made.known
    known = replace(made.known, by_design=by_design)
    more = {**made.violations, "pool-slots": 1}
    with pytest.raises(pytest.fail.Exception, match="showed itself, and pool-slots with it"):
        settle(replace(made, known=known, violations=more), "who did what")


def test_a_violation_in_a_release_without_the_race_is_red_even_if_expected(
    broken: Judgement,
) -> None:
    with pytest.raises(pytest.fail.Exception, match="who did what"):
        settle(record(broken, "3.3.2", KNOWN, expect_known=True), "who did what")


def test_a_violation_that_no_issue_explains_is_red(broken: Judgement) -> None:
    with pytest.raises(pytest.fail.Exception, match="who did what"):
        settle(record(broken, "3.0.6", None, expect_known=True), "who did what")


def test_a_clean_run_is_green(sound: Judgement) -> None:
    assert settle(record(sound, "3.3.2", KNOWN, expect_known=False), "") == "clean"


def test_an_affected_release_that_stays_clean_is_red_where_the_race_must_show(
    sound: Judgement,
) -> None:
    with pytest.raises(pytest.fail.Exception, match="did not show itself"):
        settle(record(sound, "3.0.6", KNOWN, expect_known=True), "")


def test_an_affected_release_may_stay_clean_where_the_race_need_not_show(sound: Judgement) -> None:
    known = KnownRace(KNOWN.scenario, shows=False)
    assert settle(record(sound, "3.0.6", known, expect_known=True), "") == "clean"


@pytest.mark.parametrize("expect_known", [True, False])
def test_a_run_that_cannot_tell_is_broken_never_green(
    cannot_tell: Judgement, expect_known: bool
) -> None:
    assert cannot_tell.verdict == "unknown"
    with pytest.raises(Unknown, match="The verdict is unknown"):
        settle(record(cannot_tell, "3.3.2", KNOWN, expect_known=expect_known), "")


def test_what_airflow_calls_its_design_is_told_and_fails_no_release(broken: Judgement) -> None:
    design = KnownRace(replace(scenarios()["57618"], by_design=True))
    with pytest.raises(pytest.xfail.Exception, match="who did what"):
        settle(record(broken, "3.0.6", design, expect_known=False), "who did what")


def test_a_race_without_an_issue_is_known_by_its_title_and_why_there_is_none(
    broken: Judgement,
) -> None:
    scenario = replace(scenarios()["57618"], issue="not filed: it is ours")
    with pytest.raises(pytest.fail.Exception, match=r'Known as ".+" \(not filed: it is ours\)'):
        settle(record(broken, "3.0.6", KnownRace(scenario), expect_known=False), "who did what")


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
