"""Run folders for the tests of the Allure report, as sessions leave them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.allure import node
from reports.records import SCHEMA, Ended, Known, SessionRecord, TestRecord
from reports.store import Runs, read_runs

FILE = "suites/test_duplicate_tries.py"
ISSUE = "https://github.com/apache/airflow/issues/57618"
RACE = Known("57618", "Scheduled twice", ISSUE, True, True, False, ["unique-try"])

needs_allure = pytest.mark.skipif(
    node.missing() is not None, reason=str(node.missing() or "Allure is there")
)


class RunsBuilder:
    """Makes run folders; every test leaves a verdict and a result unless it is told not to."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def session(
        self,
        hour: int,
        *,
        airflow: str = "3.3.2",
        lab: str = "embedded",
        killed: bool = False,
        session: str = "",
    ) -> "Run":
        """Begin a session at an hour of the day."""
        stamp = f"20261101-{hour:02}0000"
        record = SessionRecord(
            schema=SCHEMA,
            session=session or stamp,
            airflow=airflow,
            lab=lab,
            schedulers=2,
            seed=7,
            started=f"2026-11-01T{hour:02}:00:00Z",
            ended=None if killed else f"2026-11-01T{hour:02}:30:00Z",
        )
        return Run(self.root / f"{stamp}-{airflow}", record, hour)

    @property
    def shelf(self) -> Runs:
        return read_runs([self.root])


class Run:
    """One run folder."""

    def __init__(self, folder: Path, session: SessionRecord, hour: int) -> None:
        self.folder = folder
        self._session = session
        self._start = 1793491200000 + hour * 3_600_000
        self._results = 0
        (folder / "allure-results").mkdir(parents=True)
        self._save()

    def test(
        self,
        name: str,
        verdict: str = "valid",
        *,
        ended: Ended | None = None,
        known: Known | None = None,
        result: bool = True,
        record: bool = True,
        **more: Any,
    ) -> Path:
        """Add a test, `name` as in `test_held[fan-out]`; return its folder."""
        head, _, inner = name.rstrip("]").partition("[")
        place = f"{self._session.lab}-{self._session.airflow}"
        nodeid = f"{FILE}::{head}[{'-'.join(filter(None, (inner, place)))}]"
        folder = self.folder / "tests" / name
        outcome = {"valid": "passed", "invalid": "failed", "unknown": "broken"}[verdict]
        self._session.collected.append(nodeid)
        if ended is not None or record or result:
            self._session.tests[nodeid] = ended or Ended(outcome, 12.5)  # type: ignore[arg-type]
        if record:
            broken = {"unique-try": 45} if verdict == "invalid" else {}
            judged = {"violations": broken, "known": known, **more}
            self._judge(folder, nodeid, verdict, judged)
        if result:
            self.result(nodeid, str(more.get("status", outcome)))
        self._save()
        return folder

    def _judge(self, folder: Path, nodeid: str, verdict: str, more: dict[str, Any]) -> None:
        session = self._session
        record = TestRecord(
            schema=SCHEMA,
            test=nodeid,
            airflow=session.airflow,
            version=session.airflow,
            lab=session.lab,
            schedulers=2,
            seed=7,
            verdict=verdict,  # type: ignore[arg-type]
            **{name: value for name, value in more.items() if name != "status"},
        )
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_bytes(msgspec.json.encode(record))

    def result(self, nodeid: str, status: str, **more: Any) -> Path:
        """Add an Allure result with a log attached to it, and one to its only step."""
        self._start += 1000
        self._results += 1
        uuid = f"{self._session.session}-{self._session.airflow}-{self._results}"
        log, inner = f"{uuid}-log-attachment.txt", f"{uuid}-step-attachment.txt"
        results = self.folder / "allure-results"
        (results / log).write_text("all is well\npassword=hunter2-canary\n")
        (results / inner).write_text("postgresql://airflow:hunter2-canary@db/airflow\n")
        step_log = {"name": "statement", "source": inner, "type": "text/plain"}
        raw = {
            "uuid": uuid,
            "name": nodeid.rpartition("::")[2],
            "titlePath": FILE.split("/"),
            "fullName": nodeid,
            "status": status,
            "start": self._start,
            "stop": self._start + 900,
            "steps": [{"name": "gate closes", "status": "passed", "attachments": [step_log]}],
            "attachments": [{"name": "scheduler-1", "source": log, "type": "text/plain"}],
            "labels": [{"name": "host", "value": "vm"}, {"name": "severity", "value": "blocker"}],
            **more,
        }
        path = results / f"{uuid}-result.json"
        path.write_text(json.dumps(raw))
        return path

    def _save(self) -> None:
        (self.folder / "session.json").write_bytes(msgspec.json.encode(self._session))
