"""Run sets in which something is missing, or was made good."""

from dataclasses import replace

from tests.reports.gate.builder import FAN_OUT, FROZEN, KILL, NIGHT, QUIET, START, TEETH, WOKEN
from tests.reports.gate.policies import REST, policy
from tests.reports.gate.run_sets import (
    Gated,
    again,
    foreign_schema,
    good,
    half_written,
    lost_verdict,
    session,
    then,
    truncated_verdict,
    with_teeth,
)

ANYWHERE = replace(KILL, name="test_faults.py::test_anywhere")
"""A test whose id is the same on every lab."""

RELEASED, EDITED = (tuple(replace(case, build=name) for case in NIGHT) for name in ("aa11", "bb22"))
"""A night of a release, and one of a checkout or environment of the same name, edited since."""

COMPLETENESS = (
    Gated(
        "two-builds-under-one-name",
        2,
        with_teeth(lambda runs: runs.session(RELEASED), lambda runs: runs.session(EDITED)),
        "its runs are of 2 builds, aa11 (7 tests), bb22 (7 tests). Gate each alone",
    ),
    Gated(
        "a-build-beside-runs-that-tell-none",
        2,
        with_teeth(session(), lambda runs: runs.session(RELEASED)),
        "2 builds, one not recorded",
    ),
    Gated("one-build", 0, with_teeth(*[lambda runs: runs.session(RELEASED)] * 2)),
    Gated(
        "one-name-on-two-labs",
        0,
        with_teeth(
            lambda runs: runs.session(RELEASED), lambda runs: runs.session(EDITED, lab="kind")
        ),
    ),
    Gated("unknown", 2, with_teeth(session(kill=KILL.unknown())), "the load was not reached"),
    Gated("unknown-then-told", 0, with_teeth(session(kill=KILL.unknown()), again(KILL))),
    Gated(
        "unknown-after-it-had-told",
        2,
        with_teeth(session(), again(KILL.unknown())),
        "the load was not reached",
    ),
    Gated(
        "unknown-told-on-another-lab-only",
        2,
        with_teeth(
            session(kill=ANYWHERE.unknown()), lambda runs: runs.session([ANYWHERE], lab="kind")
        ),
        "test_anywhere on Airflow 3.3.2, embedded",
    ),
    Gated(
        "unknown-told-with-another-chart-only",
        2,
        with_teeth(
            session(),
            lambda runs: runs.session([KILL.unknown()], lab="kind", chart="airflow 1.18.0"),
            lambda runs: runs.session([KILL], lab="kind", chart="airflow 1.22.0"),
        ),
        "on Airflow 3.3.2, kind, 2 schedulers, chart airflow 1.18.0",
    ),
    Gated(
        "unknown-then-skipped",
        2,
        with_teeth(session(kill=KILL.unknown()), again(KILL.skipped())),
        "test_scheduler_kill",
    ),
    Gated(
        "crashed-test",
        2,
        with_teeth(session(kill=replace(KILL, outcome="crashed", recorded=False))),
        "its worker process died with it",
    ),
    Gated(
        "broken-after-a-valid-verdict",
        2,
        with_teeth(session(kill=replace(KILL, outcome="broken", reason="the lab did not end"))),
        "the lab did not end",
    ),
    Gated(
        "vanished-test",
        2,
        with_teeth(session(kill=replace(KILL, ended=False, recorded=False))),
        "1 of 7 collected tests never ended: test_scheduler_kill",
    ),
    Gated(
        "vanished-then-told",
        0,
        with_teeth(session(kill=replace(KILL, ended=False, recorded=False)), again(KILL)),
    ),
    Gated(
        "session-killed",
        2,
        then(good, lambda runs: runs.session((), ended=None, exit_status=None)),
        "killed before it had collected",
    ),
    Gated(
        "session-failed-to-collect",
        2,
        then(good, lambda runs: runs.session((), exit_status=3)),
        "an internal error",
    ),
    Gated(
        "known-bad-session-interrupted",
        0,
        then(good, lambda runs: runs.session(TEETH, "3.0.6", expect_known=True, exit_status=2)),
    ),
    Gated("session-without-tests", 0, then(good, lambda runs: runs.session((), exit_status=5))),
    Gated("passed-without-a-verdict", 2, lost_verdict, "ended passed and left no verdict.json"),
    Gated(
        "test-nobody-collected",
        2,
        then(good, again(replace(KILL, collected=False, ended=False))),
        "two may have shared the folder",
    ),
    Gated("half-written-run", 2, then(good, half_written), "session.json is missing"),
    Gated("truncated-verdict", 2, truncated_verdict, "is not a whole verdict.json"),
    Gated("foreign-schema", 2, foreign_schema, "has schema 99"),
    Gated(
        "scenario-skipped",
        2,
        with_teeth(session(frozen=FROZEN.skipped())),
        "skipped, which says nothing: needs freeze",
    ),
    Gated(
        "scenario-not-run",
        2,
        with_teeth(again(*(case for case in NIGHT if case is not FROZEN))),
        "pytest suites/ -k critical-section",
    ),
    Gated(
        "scenario-met-and-not-forced",
        2,
        with_teeth(again(*(case for case in NIGHT if case is not WOKEN))),
        "scenario woken-scheduler on Airflow 3.3.2",
    ),
    Gated(
        "skipped-after-it-had-told",
        0,
        with_teeth(session(), again(QUIET.skipped(), FROZEN.skipped(), KILL.skipped())),
    ),
    Gated("skipped-test", 0, with_teeth(session(kill=KILL.skipped()))),
    Gated(
        "too-few-task-instances",
        2,
        with_teeth(session(quiet=replace(QUIET, task_instances=94))),
        "352 task instances were judged, 400 are wanted",
    ),
    Gated(
        "reruns-make-no-task-instances",
        2,
        with_teeth(session(quiet=replace(QUIET, task_instances=94)), *[again(START, FAN_OUT)] * 3),
        "352 task instances were judged",
    ),
    Gated(
        "lab-not-used",
        2,
        with_teeth(lambda runs: runs.session(lab="kind")),
        "pytest suites/ --lab embedded",
    ),
    Gated(
        "version-not-run",
        2,
        good,
        "there is no run of it. Make one: pytest suites/ --airflow 3.4.0",
        policy(rest=REST.replace("  labs", "  versions: [3.4.0]\n  labs")),
    ),
    Gated("other-version-asked-for", 2, good, "Airflow 9.9.9", options=("--airflow", "9.9.9")),
    Gated("only-known-bad-runs", 2, with_teeth(), "no run of a release to be gated"),
    Gated("no-runs", 2, lambda runs: runs.folder.mkdir()),
)
