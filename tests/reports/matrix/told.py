"""Tests' records, told in a few words, and the run folders that hold them."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from reports.records import SCHEMA, Known, SessionRecord, TestRecord

RUNS = Path(__file__).parent / "runs"
"""Run folders of real sessions, with the records alone."""

Verdict = Literal["valid", "invalid", "unknown"]


def known(*, affected: bool = True, must_show: bool = True, by_design: bool = False) -> Known:
    """Return what a test of 57618 has to say of the race."""
    return Known(
        scenario="57618",
        title="A task instance is scheduled twice",
        issue="https://github.com/apache/airflow/issues/57618",
        affected=affected,
        must_show=must_show,
        by_design=by_design,
        breaks=["retry-after-end", "unique-try"],
    )


def record(
    verdict: Verdict = "valid",
    *broken: str,
    test: str = "test_held[57618-start-task-{place}]",
    airflow: str = "3.0.6",
    lab: str = "embedded",
    seed: int = 1,
    race: Known | None = None,
    about: bool = True,
    **more: Any,
) -> TestRecord:
    """Return a test's record; `about` says whether there is a race that it is about."""
    return TestRecord(
        schema=SCHEMA,
        test="suites/test_duplicate_tries.py::" + test.format(place=f"{lab}-{airflow}"),
        airflow=airflow,
        version=airflow,
        lab=lab,
        schedulers=2,
        seed=seed,
        verdict=verdict,
        violations=dict.fromkeys(broken, 1),
        known=(race or known()) if about else None,
        **more,
    )


def shown(**more: Any) -> TestRecord:
    """Return a run that showed the race."""
    return record("invalid", "unique-try", **more)


def keep(folder: Path, number: int, *records: TestRecord, **session: Any) -> Path:
    """Write the run folder of a session that ended well, unless `session` says otherwise."""
    first = records[0]
    run = folder / f"20261122-12{number:02d}00-{first.airflow}"
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "session": f"20261122-12{number:02d}00",
        "airflow": first.airflow,
        "lab": first.lab,
        "schedulers": 2,
        "seed": first.seed,
        "started": "2026-11-22T12:00:00Z",
        "ended": "2026-11-22T12:05:00Z",
        "collected": [each.test for each in records],
        "tests": {each.test: {"outcome": "passed"} for each in records},
        **session,
    }
    session_record = msgspec.convert(fields, SessionRecord)
    (run / "tests").mkdir(parents=True)
    (run / "session.json").write_bytes(msgspec.json.encode(session_record))
    for place, each in enumerate(records):
        test = run / "tests" / f"test-{place}"
        test.mkdir()
        (test / "verdict.json").write_bytes(msgspec.json.encode(each))
    return run
