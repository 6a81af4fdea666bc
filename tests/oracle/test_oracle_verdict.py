"""A verdict is valid, invalid or unknown, and says what it rests on."""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from oracle import verdict
from oracle.events import (
    WAITS_KNOWN,
    AssumptionEvent,
    End,
    Event,
    Header,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
)
from oracle.history import read
from oracle.invariants import INVARIANTS, Invariant, Violation
from oracle.verdict import Judge, Judgement
from tests.oracle.telling import HISTORIES

RACE = HISTORIES / "57618" / "invalid-second-scheduler-schedules-stale-rows-again.ndjson"
GUARDED = HISTORIES / "57618" / "valid-the-guard-lets-nothing-through.ndjson"


def judge(path: Path, *more: Event, without: tuple[type, ...] = ()) -> Judgement:
    header, events = read(path)
    judge = Judge(header)
    for event in events:
        if isinstance(event, End):
            for extra in more:
                judge.feed(extra)
        if not isinstance(event, without):
            judge.feed(event)
    return judge.conclude()


def assumption(name: str, met: bool) -> AssumptionEvent:
    return AssumptionEvent(7.0, name, met, "12", ">= 40")


def test_the_race_is_invalid_and_the_guard_is_valid() -> None:
    assert judge(RACE).verdict == "invalid"
    assert judge(GUARDED).verdict == "valid"


def test_an_unmet_assumption_makes_a_clean_history_unknown() -> None:
    judgement = judge(GUARDED, assumption("load-reached", False))
    assert judgement.verdict == "unknown"
    assert judgement.reasons == ["assumption not met: load-reached was 12, wanted >= 40"]


def test_an_assumption_once_unmet_stays_unmet() -> None:
    again = assumption("load-reached", False), assumption("load-reached", True)
    assert judge(GUARDED, *again).verdict == "unknown"


NOT_JUDGED = {
    "called-back-once": "no row event in the history",
    "asset-events-consumed": "no row event in the history",
    "asset-condition-met": "no row event in the history",
    "success-stands": "no answer event in the history",
    "no-server-error": "no answer event in the history",
    "workers-answered": "no answer event in the history",
    "max-active-runs": "no limit of a DAG that ran was recorded",
    "max-active-tasks": "no limit of a DAG whose tasks were queued was recorded",
    "pool-slots": "no pool's size was recorded",
    "no-crash": "no process event in the history",
    "stops-in-time": "no process event in the history",
    "one-backfill": "no row event in the history",
    "drained-dag": "no row event in the history",
    "partitions-run": "no row event in the history",
    "trigger-owner": "no row event in the history",
    "queued-in-time": "no scheduler was stated to be free and seen at work for 30 s",
}


def test_a_violation_counts_whatever_was_assumed() -> None:
    assert judge(RACE, assumption("load-reached", False)).verdict == "invalid"


def test_a_history_with_gaps_proves_nothing() -> None:
    gaps = assumption("recorder-without-gaps", False)
    assert judge(RACE, gaps).verdict == "unknown"
    assert judge(GUARDED, gaps).verdict == "unknown"


def test_a_history_without_an_end_proves_nothing() -> None:
    judgement = judge(RACE, without=(End,))
    assert judgement.verdict == "unknown"
    assert judgement.by_invariant["unique-try"] == 1
    assert judge(GUARDED, without=(End,)).verdict == "unknown"


def test_a_history_without_task_instances_proves_nothing() -> None:
    judgement = judge(GUARDED, without=(TaskInstanceEvent,))
    assert judgement.verdict == "unknown"
    assert "the history has no task instance" in judgement.reasons


def test_an_invariant_with_nothing_to_judge_says_so() -> None:
    judgement = judge(GUARDED, without=(PodEvent, LedgerEvent))
    assert judgement.verdict == "valid"
    assert judgement.not_judged == {
        "single-live-pod": "no pod event in the history",
        "executed-once": "no ledger event in the history",
        "completed-work-stands": "no ledger event in the history",
        **NOT_JUDGED,
    }
    assert judge(GUARDED).not_judged == NOT_JUDGED


def test_a_run_that_was_cut_short_at_a_violation_has_lost_nothing() -> None:
    header, events = read(RACE)
    judged = Judge(header)
    for event in events:
        judged.feed(End(200.0, event.events) if isinstance(event, End) else event)
    judgement = judged.conclude()
    assert judgement.by_invariant["no-lost-task"] == 0
    assert "violations" in judgement.not_judged["no-lost-task"]


class Broken(Invariant):
    name = "broken"
    promise = "It works"
    evidence = TaskInstanceEvent

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        raise LookupError(f"no idea at {event.t}")


class BrokenAtTheEnd(Broken):
    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:  # noqa: ARG002
        return ()

    def finish(self) -> Iterable[Violation]:
        raise LookupError("no idea")


@pytest.mark.parametrize("broken", [Broken, BrokenAtTheEnd])
def test_an_invariant_that_throws_makes_the_verdict_unknown(
    monkeypatch: pytest.MonkeyPatch, broken: type[Invariant]
) -> None:
    monkeypatch.setattr(verdict, "INVARIANTS", (broken, *INVARIANTS))
    judgement = judge(GUARDED)
    assert judgement.verdict == "unknown"
    assert judgement.reasons[0].startswith("the invariant broken failed: LookupError: no idea")
    assert judge(RACE).verdict == "invalid"


def test_violations_are_told_as_soon_as_they_are_seen() -> None:
    header, events = read(RACE)
    live = Judge(header)
    first = next(found for event in events if (found := live.feed(event)))
    assert [violation.invariant for violation in first] == ["unique-try", "legal-transition"]
    assert first[0].t == 3.655


def test_the_figures_are_those_of_the_history() -> None:
    counts = judge(RACE).counts
    assert (counts.runs, counts.task_instances, counts.pods) == (1, 1, 2)
    assert (counts.refused_starts, counts.double_executions) == (1, 0)
    assert (counts.duplicate_pods, counts.duplicate_tries) == (1, 1)
    assert counts.decisions == {
        "scheduler-1": {"scheduled": 1, "queued": 1},
        "scheduler-2": {"scheduled": 1, "queued": 1},
    }


def test_a_scheduler_that_decided_nothing_is_counted_with_zero() -> None:
    decisions = judge(GUARDED).counts.decisions
    assert decisions["scheduler-2"] == {"scheduled": 0, "queued": 0}


def test_the_time_to_the_first_violation_counts_from_the_first_run() -> None:
    assert judge(RACE).time_to_first_violation == pytest.approx(2.655)
    assert judge(GUARDED).time_to_first_violation is None


def test_the_verdict_is_ready_for_json() -> None:
    told = json.loads(json.dumps(judge(RACE).to_json()))
    assert told["verdict"] == "invalid"
    assert told["violations"] == {
        "unique-try": 1,
        "retry-after-end": 0,
        "legal-transition": 1,
        "no-invented-outcome": 0,
        "success-stands": 0,
        "all-tries-start": 0,
        "run-ends-once": 0,
        "called-back-once": 0,
        "max-active-runs": 0,
        "max-active-tasks": 0,
        "one-backfill": 0,
        "drained-dag": 0,
        "pool-slots": 0,
        "asset-events-consumed": 0,
        "asset-condition-met": 0,
        "partitions-run": 0,
        "no-crash": 0,
        "stops-in-time": 0,
        "no-server-error": 0,
        "workers-answered": 0,
        "no-live-orphan": 0,
        "trigger-owner": 0,
        "single-live-pod": 1,
        "valid-start": 1,
        "executed-once": 0,
        "completed-work-stands": 0,
        "queued-in-time": 0,
        "no-lost-task": 0,
    }
    assert told["assumptions"] == [
        {"name": "recorder-without-gaps", "met": True, "value": "", "wanted": ""}
    ]
    assert {"airflow", "lab", "seed", "task_instances", "decisions"} <= told.keys()


def test_only_the_first_violations_are_kept_and_all_are_counted() -> None:
    header, events = read(RACE)
    race = [event for event in events if isinstance(event, TaskInstanceEvent)]
    judged = Judge(Header(1, "many", "3.0.6", "embedded", header.schedulers, 1, 0.0))
    for _ in range(verdict.KEPT + 20):
        for event in race:
            judged.feed(event)
    judged.feed(End(9.0, 0))
    judgement = judged.conclude()
    assert judgement.by_invariant["unique-try"] == verdict.KEPT + 20
    assert sum(v.invariant == "unique-try" for v in judgement.violations) == verdict.KEPT


CLEANED = HISTORIES / "unscheduled" / "db-clean-deletes-rows.ndjson"
MARKED = HISTORIES / "unscheduled" / "a-user-marks-what-nobody-scheduled.ndjson"


@pytest.mark.parametrize("path", [CLEANED, MARKED], ids=lambda path: path.stem)
def test_where_nothing_was_scheduled_nothing_is_proven(path: Path) -> None:
    judgement = judge(path)
    assert judgement.verdict == "unknown"
    assert judgement.reasons == ["nothing was scheduled: no task instance was seen in a try"]
    assert judgement.counts.task_instances == 0


def test_each_promise_says_how_much_it_judged() -> None:
    assert judge(GUARDED).judged == {
        "unique-try": 1,
        "retry-after-end": 1,
        "legal-transition": 1,
        "no-invented-outcome": 1,
        "success-stands": 0,
        "all-tries-start": 0,
        "run-ends-once": 1,
        "called-back-once": 0,
        "max-active-runs": 0,
        "max-active-tasks": 0,
        "one-backfill": 0,
        "drained-dag": 0,
        "pool-slots": 0,
        "asset-events-consumed": 0,
        "asset-condition-met": 0,
        "partitions-run": 0,
        "no-live-orphan": 1,
        "trigger-owner": 0,
        "single-live-pod": 1,
        "valid-start": 1,
        "executed-once": 1,
        "completed-work-stands": 1,
        "no-crash": 0,
        "stops-in-time": 0,
        "no-server-error": 0,
        "workers-answered": 0,
        "queued-in-time": 0,
        "no-lost-task": 1,
    }
    assert judge(GUARDED, without=(PodEvent,)).judged["single-live-pod"] == 0
    assert judge(GUARDED).to_json()["judged"] == judge(GUARDED).judged


def test_of_what_waits_while_a_scheduler_is_free_each_task_instance_counts_once() -> None:
    folder = HISTORIES / "queued-in-time"
    (stalled,) = folder.glob("invalid-the-other-scheduler-hangs-in-its-critical-section.ndjson")
    waiting = {
        event.ti
        for event in read(stalled)[1]
        if isinstance(event, TaskInstanceEvent) and event.new and event.new.state == "scheduled"
    }
    assert 0 < judge(stalled).judged["queued-in-time"] <= len(waiting)


def test_what_a_run_asks_must_be_judged() -> None:
    def asking(*promises: str) -> Judgement:
        header, events = read(GUARDED)
        judged = verdict.Judge(msgspec.structs.replace(header, asked=list(promises)))
        for event in events:
            judged.feed(event)
        return judged.conclude()

    assert asking("unique-try").verdict == "valid"
    assert asking("success-stands", "unique-try").verdict == "valid"  # one of them is enough
    silent = asking("success-stands", "max-active-runs")
    assert silent.verdict == "unknown"
    assert silent.reasons == [
        "what this run asks was not judged: success-stands (no answer event in the history), "
        "max-active-runs (no limit of a DAG that ran was recorded)"
    ]


def test_what_no_recorder_saw_is_told_with_the_verdict() -> None:
    path = (
        HISTORIES
        / "no-lost-task"
        / ("valid-a-queued-task-without-a-pod-where-not-all-pods-are-seen.ndjson")
    )
    judgement = judge(path)
    assert judgement.to_json()["not_covered"] == ["what CeleryExecutor runs"]
    assert judgement.not_judged["no-lost-task"].startswith("run r1 of d was left RUNNING for")


def test_where_it_is_not_known_why_runs_wait_nothing_is_lost() -> None:
    unknown = AssumptionEvent(98.0, WAITS_KNOWN, False, "the database is gone", "why it waits")
    path = HISTORIES / "no-lost-task" / "invalid-task-stays-queued.ndjson"
    judgement = judge(path, unknown)
    assert judgement.verdict == "unknown"
    assert judgement.judged["no-lost-task"] == 0
    assert (
        judgement.not_judged["no-lost-task"] == "why runs wait is not known: the database is gone"
    )
