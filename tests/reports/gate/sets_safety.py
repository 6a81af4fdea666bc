"""Run sets in which a promise was broken, or was not."""

from dataclasses import replace

from reports.records import ExploredFind, Known
from tests.reports.gate.builder import (
    EXPLORED,
    FOUND,
    KILL,
    PAUSE,
    START,
    TEETH,
    WOKEN,
    from_history,
    night,
)
from tests.reports.gate.policies import (
    KILL_ACCEPTED,
    KILL_ELSEWHERE,
    KILL_LAPSED,
)
from tests.reports.gate.run_sets import DOUBLE, Build, Gated, again, good, session, then, with_teeth

SET = {"AIRFLOW__CORE__PARALLELISM": "32"}
HELD = ExploredFind(3, ["queued-in-time"], "critical-section")
ELSEWHERE = Known("woken-scheduler", "Woken", "", True, False, False, ["valid-start"], [])


def explored(*finds: ExploredFind, race: Known = FOUND) -> Build:
    """Return a night with an exploration that found some rounds, known ones of one race."""
    case = EXPLORED.found(*finds, races=[race]) if finds else EXPLORED
    return lambda runs: runs.session([*night(), case])


REAL_RACE = "57618/invalid-second-scheduler-schedules-stale-rows-again.ndjson"
REAL_CLEAN = "57618/valid-the-guard-lets-nothing-through.ndjson"

SAFETY = (
    Gated("all-valid", 0, good),
    Gated(
        "new-violation", 1, with_teeth(session(kill=KILL.broken(DOUBLE))), "executed-once 1; new"
    ),
    Gated(
        "violation-then-valid-rerun",
        1,
        with_teeth(session(kill=KILL.broken(DOUBLE)), again(KILL)),
        "test_scheduler_kill",
    ),
    Gated(
        "violation-in-a-test-that-crashed-afterwards",
        1,
        with_teeth(session(kill=replace(KILL.broken(DOUBLE), outcome="crashed"))),
        "executed-once 1",
    ),
    Gated("accepted-by-name", 0, with_teeth(session(kill=KILL.broken(DOUBLE))), "", KILL_ACCEPTED),
    Gated(
        "acceptance-lapsed",
        1,
        with_teeth(session(kill=KILL.broken(DOUBLE))),
        "by maintainers lapsed on",
        KILL_LAPSED,
    ),
    Gated(
        "acceptance-of-another-version",
        1,
        with_teeth(session(kill=KILL.broken(DOUBLE))),
        "new: no acceptance names it",
        KILL_ELSEWHERE,
    ),
    Gated("acceptance-not-needed-any-more", 0, good, "", KILL_ACCEPTED),
    Gated(
        "more-broken-than-is-accepted",
        1,
        with_teeth(session(kill=KILL.broken({**DOUBLE, "no-lost-task": 2}))),
        "not accepted: no-lost-task",
        KILL_ACCEPTED,
    ),
    Gated(
        "accepted-scenario-with-a-new-violation-beside",
        1,
        with_teeth(session(woken=WOKEN.broken({"no-live-orphan": 1, "executed-once": 1}))),
        "not accepted: executed-once",
    ),
    Gated(
        "accepted-scenario-in-another-test",
        1,
        with_teeth(session(pause=PAUSE.broken({"valid-start": 3}))),
        "test_scheduler_pause",
    ),
    Gated(
        "known-race-without-expect-known",
        1,
        then(good, lambda runs: runs.session(TEETH, "3.1.8")),
        "known as 57618",
    ),
    Gated(
        "known-race-in-a-release-that-the-policy-does-not-name",
        1,
        then(good, lambda runs: runs.session(TEETH, "3.2.0", expect_known=True)),
        "on Airflow 3.2.0",
    ),
    Gated(
        "known-race-in-a-real-history",
        1,
        with_teeth(lambda runs: runs.session(night(start=from_history(REAL_RACE, START)))),
        "test_held[57618-start-task",
    ),
    Gated(
        "no-race-in-a-real-history",
        0,
        with_teeth(lambda runs: runs.session(night(start=from_history(REAL_CLEAN, START)))),
    ),
    Gated(
        "unknown-is-not-answered-with-other-settings",
        2,
        with_teeth(
            session(pause=PAUSE.unknown()), lambda runs: runs.session([PAUSE], settings=SET)
        ),
        "the load was not reached",
    ),
    Gated("exploration-that-found-nothing", 0, with_teeth(explored())),
    Gated("exploration-that-found-an-accepted-race", 0, with_teeth(explored(HELD))),
    Gated(
        "exploration-that-found-a-race-that-is-not-accepted-there",
        1,
        with_teeth(explored(ExploredFind(3, ["valid-start"], "woken-scheduler"), race=ELSEWHERE)),
        "valid-start 1; known as woken-scheduler",
    ),
    Gated(
        "exploration-that-found-a-new-race-beside-an-accepted-one",
        1,
        with_teeth(explored(HELD, ExploredFind(7, ["queued-in-time", "unique-try"]))),
        "new: queued-in-time, unique-try",
    ),
    Gated(
        "violation-and-unknown",
        1,
        with_teeth(session(kill=KILL.broken(DOUBLE), pause=PAUSE.unknown())),
        "executed-once 1",
    ),
    Gated(
        "violation-in-a-run-that-was-half-written",
        1,
        then(good, lambda runs: (runs.session([KILL.broken(DOUBLE)]) / "session.json").unlink()),
        "executed-once 1",
    ),
)
