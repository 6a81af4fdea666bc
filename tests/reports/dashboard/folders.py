"""Run folders as a session leaves them: small, with real histories and what they really show."""

import shutil
from pathlib import Path

import msgspec

from oracle import witness
from oracle.history import read
from oracle.verdict import Judge, Judgement
from reports.gate.policy import Completeness, KnownBad, OracleHealth, Policy, Specifier
from reports.records import SCHEMA, Ended, Known, SessionRecord, TestRecord
from tests.oracle.telling import HISTORIES

RACE = HISTORIES / "57618" / "invalid-second-scheduler-schedules-stale-rows-again.ndjson"
CLEAN = HISTORIES / "57618" / "valid-the-guard-lets-nothing-through.ndjson"
LOST = HISTORIES / "no-lost-task" / "invalid-task-stays-queued.ndjson"

POLICY = Policy(completeness=Completeness(task_instances=1), path="policy.yaml")
CATCHES = msgspec.structs.replace(
    POLICY,
    oracle_health=OracleHealth(known_bad=[KnownBad(scenario="57618", airflow=Specifier("<3.2.0"))]),
)


def known(version: str) -> Known:
    """Tell what is known of 57618 for a version."""
    return Known(
        scenario="57618",
        title="A task instance is scheduled twice by two schedulers",
        issue="https://github.com/apache/airflow/issues/57618",
        affected=version < "3.2.0",
        must_show=True,
        by_design=False,
        breaks=["unique-try", "retry-after-end"],
    )


def judgement(history: Path) -> Judgement:
    """Judge a history."""
    header, events = read(history)
    judge = Judge(header)
    for event in events:
        judge.feed(event)
    return judge.conclude()


def make_run(
    shelf: Path,
    version: str,
    *histories: Path,
    started: str = "20261121-060000",
    label: str = "",
    unknown: bool = False,
    task_instances: int = 5640,
) -> Path:
    """Leave one session's run folder, with a test for each history."""
    label = label or version
    folder = shelf / f"{started}-{label}"
    ended = {}
    for number, history in enumerate(histories):
        name = f"start-task-{number}-embedded-{label}"
        test = f"suites/test_duplicate_tries.py::test_held[57618-{name}]"
        record = _leave(folder / "tests" / f"test_held-57618-{name}", test, version, history)
        record = msgspec.structs.replace(record, airflow=label, task_instances=task_instances)
        if unknown:
            record = msgspec.structs.replace(
                record, verdict="unknown", violations={}, reasons=["the load was not reached"]
            )
        path = folder / "tests" / f"test_held-57618-{name}" / "verdict.json"
        path.write_bytes(msgspec.json.encode(record))
        ended[test] = Ended("broken" if unknown else "passed")
    moment = f"{started[:4]}-{started[4:6]}-{started[6:8]}T{started[9:11]}:{started[11:13]}:00Z"
    session = SessionRecord(
        schema=SCHEMA,
        session=started,
        airflow=label,
        lab="embedded",
        schedulers=2,
        seed=1,
        started=moment,
        ended=moment,
        exit_status=0,
        collected=list(ended),
        tests=ended,
    )
    (folder / "session.json").write_bytes(msgspec.json.encode(session))
    return folder


def _leave(folder: Path, test: str, version: str, history: Path) -> TestRecord:
    (folder / "logs").mkdir(parents=True)
    shutil.copy(history, folder / "history.ndjson")
    found = judgement(history)
    (folder / "witness.txt").write_text(witness.text(found))
    (folder / "logs" / "scheduler-1.log").write_text("Loaded executor: KubernetesExecutor\n")
    return TestRecord(
        schema=SCHEMA,
        test=test,
        airflow=version,
        version=version,
        lab="embedded",
        schedulers=2,
        seed=1,
        verdict="invalid" if found.violations else "valid",
        violations=found.by_invariant,
        runs=1,
        known=known(version),
    )
