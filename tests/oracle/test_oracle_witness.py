"""A witness tells a violation so that a person who was not there understands it."""

from pathlib import Path

import pytest

from oracle import witness
from oracle.__main__ import check
from tests.oracle.telling import HISTORIES, tellings

RACE = HISTORIES / "57618" / "invalid-second-scheduler-schedules-stale-rows-again.ndjson"
TOLD = {
    "57618": "57618/invalid-second-scheduler-schedules-stale-rows-again",
    "critical-section": "queued-in-time/invalid-the-other-scheduler-hangs-in-its-critical-section",
    "woken-scheduler": "no-live-orphan/invalid-the-other-reset-it-and-its-scheduler-made-the-pod",
    "silence": "no-lost-task/invalid-the-code-completed-and-nobody-told-the-api-server",
    "stale-trigger": "legal-transition/"
    "invalid-a-triggerer-resumed-what-its-user-had-marked-as-a-success",
    "dropped-answer": "no-crash/invalid-one-answer-of-the-kubernetes-api-was-lost",
    "active-runs": "max-active-runs/invalid-two-schedulers-begin-one-each",
    "failed-success": "success-stands/invalid-stored-as-failed",
    "second-asset-event": "asset-events-consumed/invalid-the-second-is-in-no-run",
    "retry-unlocked": "run-ends-once/invalid-tried-again-without-the-lock",
    "paused-sweep": "run-ends-once/invalid-both-schedulers-finish-the-run-of-a-paused-dag",
    "adoption-stall": "workers-answered/invalid-while-kubernetes-is-slow",
    "burnt-retry": "all-tries-start/invalid-its-scheduler-was-killed-before-it-had-a-pod",
    "half-adopted": "single-live-pod/invalid-its-adopter-was-killed",
    "obsolete-pod": "valid-start/invalid-its-pod-was-made-when-its-scheduler-had-been-given-up",
    "late-exit": "no-lost-task/invalid-the-end-of-its-second-pod-was-overlooked",
    "half-condition": "asset-condition-met/invalid-the-other-scheduler-took-both",
    "zombie-purge": "single-live-pod/invalid-its-heartbeats-had-come-again",
    "resent-defer": "executed-once/invalid-a-repeated-request-deferred-it-once-more",
    "lost-locks": "legal-transition/"
    "invalid-a-scheduler-that-had-lost-its-locks-overwrote-a-success",
    "slow-stop": "stops-in-time/invalid-a-scheduler-takes-nineteen-seconds",
    "split-partition": "partitions-run/invalid-each-producer-saw-the-other-s-not",
    "fired-partition": "partitions-run/invalid-they-came-while-the-run-was-made",
    "dying-with-a-worker": "no-crash/invalid-a-worker-died-and-a-callback-was-asked-for",
    "poison-callback": "no-crash/invalid-a-deadline-was-missed",
    "dropped-event": "no-lost-task/invalid-the-end-of-its-pod-was-told-while-its-row-was-locked",
    "deleted-stuck": "no-crash/invalid-a-run-was-deleted-whose-task-it-gave-up",
    "drain-vs-trigger": "drained-dag/invalid-a-run-was-accepted-meanwhile",
    "double-backfill": "one-backfill/invalid-two-at-once",
    "stolen-callback": "trigger-owner/invalid-another-takes-it-a-moment-later",
    "watch-gap": "queued-in-time/invalid-its-scheduler-thinks-that-its-slots-are-taken",
    "clear-vs-start": "legal-transition/invalid-a-task-was-cleared-as-its-worker-started",
    "queued-success": "legal-transition/invalid-a-marked-task-was-queued",
    "stuck-sweep": "legal-transition/invalid-a-running-task-was-taken-for-stuck-in-queued",
}
"""The golden witnesses, by the scenario that is told, each with its history."""

GOLDEN = Path(__file__).parent / "golden"
INVALID = sorted(HISTORIES.glob("*/invalid-*.ndjson"))
MOST_LINES = 15


@pytest.mark.parametrize("golden", TOLD)
def test_a_race_is_told_like_its_golden_witness(golden: str) -> None:
    told = witness.text(check(HISTORIES / f"{TOLD[golden]}.ndjson"))
    assert told == (GOLDEN / f"{golden}.txt").read_text()


def test_a_history_without_violations_has_no_witness() -> None:
    assert witness.text(check(HISTORIES / "no-lost-task" / "valid-run-ended.ndjson")) == ""


@pytest.mark.parametrize("path", INVALID, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_witness_is_short_and_names_the_broken_promise(path: Path) -> None:
    judgement = check(path)
    lines = witness.text(judgement).splitlines()
    assert len(lines) <= MOST_LINES
    assert any(path.parent.name in line for line in lines[1:]) or path == RACE
    assert any(
        line.endswith(f"{violation.message}.")
        for line in lines
        for violation in judgement.violations
    )


def test_times_count_from_the_first_event_of_the_story() -> None:
    lines = witness.text(check(RACE)).splitlines()
    assert lines[1].split()[0] == "0.000"
    times = [float(line.split()[0]) for line in lines if line.split()[1:2] == ["s"]]
    assert times == sorted(times)


def test_the_witness_is_the_task_instance_that_breaks_most_promises(tmp_path: Path) -> None:
    lines = RACE.read_text().splitlines()
    other = HISTORIES / "unique-try" / "invalid-second-scheduler-raised-it-while-scheduled.ndjson"
    lesser = [
        line.replace('"task_id": "start"', '"task_id": "lesser"')
        for line in other.read_text().splitlines()[1:-1]
    ]
    end = lines[-1].replace('"events": 24', f'"events": {24 + len(lesser)}')
    both = tmp_path / "both.ndjson"
    both.write_text("\n".join([lines[0], *lesser, *lines[1:-1], end]) + "\n")
    judgement = check(both)
    assert judgement.counts.duplicate_tries == 2
    assert "d.start @ r1" in witness.text(judgement).splitlines()[0]


def test_a_crash_is_told_in_the_story_of_a_task_instance_and_as_a_broken_promise(
    tmp_path: Path,
) -> None:
    tale = """\
== crash
0.0  process      watched scheduler-1
0.0  api-server   start -> none
0.1  scheduler-1  start -> scheduled try 1
0.2  scheduler-1  start -> queued job 1
1.0  process      ended scheduler-1 1 ProtocolError: Connection aborted.
1.1  process      started scheduler-1
2.0  scheduler-2  start -> scheduled try 2
"""
    path = tmp_path / "crash.ndjson"
    path.write_text(tellings(tale)["crash"])
    said = witness.text(check(path))

    assert "0.900 s  scheduler-1  ended with exit code 1 (ProtocolError: Connection ab" in said
    assert "1.000 s  scheduler-1  was started again" in said
    assert said.splitlines()[-1] == (
        "no-crash: No process of Airflow's ends undisturbed, "
        "but scheduler-1 ended with exit code 1 (ProtocolError: Connection aborted.)."
    )
