"""Run folders as sessions leave them: real files, to be read by the real reader."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from oracle.history import read
from oracle.verdict import Judge
from reports.metrics import Metrics
from reports.records import (
    SCHEMA,
    Ended,
    Explored,
    ExploredFind,
    Known,
    Outcome,
    SessionRecord,
    TestRecord,
)
from tests.oracle.telling import HISTORIES

TODAY = date.today()
SOON = TODAY + timedelta(days=90)
YESTERDAY = TODAY - timedelta(days=1)

BREAKS = {
    "57618": ["unique-try", "retry-after-end"],
    "critical-section": ["queued-in-time"],
    "woken-scheduler": ["no-live-orphan", "single-live-pod", "valid-start"],
}
FOLLOWS = {"57618": ["legal-transition", "single-live-pod", "valid-start"]}
WAKE = {"no-live-orphan": 7, "single-live-pod": 7, "valid-start": 7}
TWICE = {"unique-try": 45, "legal-transition": 16, "single-live-pod": 16, "valid-start": 16}


@dataclass(frozen=True)
class Case:
    """One test of a session: what it found, and how it ended; `outcome` follows the verdict."""

    name: str
    verdict: str = "valid"
    violations: Mapping[str, int] = field(default_factory=dict)
    scenario: str = ""
    affected: bool = False
    must_show: bool = True
    task_instances: int = 47
    reasons: Sequence[str] = ()
    outcome: Outcome | None = None
    reason: str = ""
    collected: bool = True
    ended: bool = True
    recorded: bool = True
    slower: float = 1.0
    build: str = ""
    races: Sequence[Known] = ()
    explored: Explored | None = None

    def broken(self, violations: Mapping[str, int]) -> "Case":
        """Return the same test, with violations."""
        return replace(self, verdict="invalid", violations=violations)

    def found(self, *finds: ExploredFind, races: Sequence[Known] = ()) -> "Case":
        """Return an exploration that found something."""
        broken = dict.fromkeys((name for find in finds for name in find.broken), len(finds))
        explored = Explored("defaults", 20, 2, list(finds))
        return replace(self.broken(broken), races=races, explored=explored, outcome="passed")

    def unknown(self, reason: str = "the load was not reached") -> "Case":
        """Return the same test, with an unknown verdict."""
        return replace(self, verdict="unknown", reasons=[reason])

    def skipped(self, reason: str = "needs freeze: this lab has none") -> "Case":
        """Return the same test, skipped."""
        return replace(self, outcome="skipped", recorded=False, reason=reason)


START = Case("test_duplicate_tries.py::test_held[57618-start-task-{place}]", scenario="57618")
FAN_OUT = Case("test_duplicate_tries.py::test_held[57618-fan-out-{place}]", scenario="57618")
QUIET = Case(
    "test_duplicate_tries.py::test_flood_without_chaos[{place}]",
    scenario="57618",
    must_show=False,
    task_instances=282,
)
FROZEN = Case(
    "test_stalled_scheduler.py::test_frozen[critical-section-frozen-{place}]",
    scenario="critical-section",
    affected=True,
    verdict="invalid",
    violations={"queued-in-time": 1},
    outcome="xfailed",
    task_instances=4,
)
WOKEN = Case(
    "test_stalled_scheduler.py::test_woken[woken-scheduler-queued-on-waking-{place}]",
    scenario="woken-scheduler",
    affected=True,
    verdict="invalid",
    violations=WAKE,
    task_instances=8,
)
PAUSE = Case(
    "test_faults.py::test_scheduler_pause[{place}]",
    scenario="woken-scheduler",
    affected=True,
    must_show=False,
    task_instances=76,
)
KILL = Case("test_faults.py::test_scheduler_kill[{place}]", task_instances=76)
NIGHT = (START, FAN_OUT, QUIET, FROZEN, WOKEN, PAUSE, KILL)
FOUND = Known("critical-section", "Frozen", "", True, False, True, ["queued-in-time"], [])
EXPLORED = Case(
    "test_exploration.py::test_explored_by_default[{place}]",
    task_instances=0,
    explored=Explored("defaults", 20, 2),
)
TEETH = tuple(replace(case, affected=True).broken(TWICE) for case in (START, FAN_OUT))


def night(**changed: Case) -> tuple[Case, ...]:
    """Return the tests of a whole session, some of them as given: night(kill=KILL.skipped())."""
    names = ("start", "fan_out", "quiet", "frozen", "woken", "pause", "kill")
    return tuple(changed.get(name, case) for name, case in zip(names, NIGHT, strict=True))


class RunsBuilder:
    """A folder of run folders; each session is later than the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._random = random.Random(7)

    def session(
        self,
        tests: Sequence[Case] = NIGHT,
        airflow: str = "3.3.2",
        version: str = "",
        lab: str = "embedded",
        expect_known: bool = False,
        **session: Any,
    ) -> Path:
        """Write one session's run folder, and return it."""
        self._number += 1
        started = f"20261122-12{self._number:02d}00"
        run = self.folder / f"{started}-{airflow}"
        place = f"{lab}-{airflow}"
        record = SessionRecord(
            schema=SCHEMA,
            session=started,
            airflow=airflow,
            lab=lab,
            schedulers=2,
            seed=1,
            started="2026-11-22T12:00:00Z",
            expect_known=expect_known,
            collected=[_id(case, place) for case in tests if case.collected],
            tests={_id(case, place): _ended(case, expect_known) for case in tests if case.ended},
            **{"ended": "2026-11-22T12:30:00Z", "exit_status": 0, **session},
        )
        _write(run / "session.json", record)
        for case in tests:
            if case.recorded:
                folder = run / "tests" / _slug(case.name.format(place=place))
                _write(
                    folder / "verdict.json",
                    _record(case, airflow, version or airflow, lab, expect_known, place),
                )
                _write(folder / "metrics.json", self._metrics(case))
        return run

    def teeth(self, tests: Sequence[Case] = TEETH, airflow: str = "3.0.6") -> Path:
        """Write the suite's own check: a known-bad release that shows its race."""
        return self.session(tests, airflow, expect_known=True)

    def _metrics(self, case: Case) -> Metrics:
        """Make figures with a machine's noise: 10 % from run to run, 20 % within."""
        mood = case.slower * self._random.uniform(0.95, 1.05)
        count = case.task_instances
        lag = [round(mood * self._random.uniform(0.4, 0.6), 3) for _ in range(count)]
        return Metrics(
            task_instances=count,
            ended=count,
            makespan=round(20 * mood, 3),
            throughput=round(count / (20 * mood), 3),
            lag=lag,
        )


def from_history(name: str, case: Case) -> Case:
    """Return a test with the verdict that the judge gives on a history of the oracle's tests."""
    header, events = read(HISTORIES / name)
    judge = Judge(header)
    for event in events:
        judge.feed(event)
    judgement = judge.conclude()
    return replace(
        case,
        verdict=judgement.verdict,
        violations=judgement.by_invariant,
        reasons=judgement.reasons,
        task_instances=judgement.counts.task_instances,
    )


def _id(case: Case, place: str) -> str:
    return f"suites/{case.name.format(place=place)}"


def _slug(name: str) -> str:
    return name.rpartition("::")[2].replace("[", "-").replace("]", "")


def _ended(case: Case, expect_known: bool) -> Ended:
    good: Outcome = "passed"
    bad: Outcome = "failed"
    shown: Outcome = good if expect_known and case.affected else bad
    clean: Outcome = bad if expect_known and case.affected and case.must_show else good
    by_verdict: dict[str, Outcome] = {"valid": clean, "invalid": shown, "unknown": "broken"}
    return Ended(case.outcome or by_verdict[case.verdict], 30.0, case.reason)


def _record(
    case: Case, airflow: str, version: str, lab: str, expect_known: bool, place: str
) -> TestRecord:
    known = Known(
        scenario=case.scenario,
        title=f"The race {case.scenario}",
        issue=f"https://github.com/apache/airflow/issues/{case.scenario}",
        affected=case.affected,
        must_show=case.must_show,
        by_design=case.scenario == "critical-section",
        breaks=BREAKS.get(case.scenario, []),
        follows=FOLLOWS.get(case.scenario, []),
    )
    return TestRecord(
        schema=SCHEMA,
        test=_id(case, place),
        airflow=airflow,
        version=version,
        lab=lab,
        schedulers=2,
        seed=1,
        verdict=case.verdict,  # type: ignore[arg-type]
        reasons=list(case.reasons),
        violations=dict(case.violations),
        task_instances=case.task_instances,
        known=known if case.scenario else None,
        races=list(case.races),
        explored=case.explored,
        expect_known=expect_known,
        build=case.build,
    )


def _write(path: Path, record: msgspec.Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(msgspec.to_builtins(record)))
