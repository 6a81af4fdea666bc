"""A run's history is read once at its end, for its judge and for all who go along."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import evidence
from harness.evidence import EvidenceReader
from lab.base import Lab
from oracle.events import Event, Header
from oracle.history import read
from oracle.invariants import Violation
from oracle.verdict import Judge
from recorder import audit
from reports.metrics import Gauge, Metrics, measure
from reports.records import TestRecord
from run import run as runs
from run.run import Run
from tests.oracle.telling import HISTORIES


@pytest.fixture
def history() -> Path:
    return next((HISTORIES / "single-live-pod").glob("invalid-*.ndjson"))


@pytest.fixture
def ended(tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose lab is well and whose recorder has written that history."""
    monkeypatch.setattr(runs, "known_secrets", lambda _: ())
    lab = SimpleNamespace(
        logs=dict,
        problems=list,
        pace=1.0,
        directory=tmp_path,
        dsn=lambda: "host=127.0.0.1 port=1",
        pod_log=lambda _: None,
        airflow=SimpleNamespace(label="3.0.6"),
        kind="embedded",
        boot={"database": 1.5},
    )
    run = Run(cast("Lab", lab), tmp_path / "test", "test", 1)
    run.folder.mkdir()
    header = read(history)[0]
    run._recorder = cast(
        "Any",
        SimpleNamespace(
            header=header, now=lambda: 0.0, note=lambda _: None, stop=lambda *_: history
        ),
    )
    monkeypatch.setattr(run, "_tidy", lambda: None)
    return run


class Counted:
    """Goes along, and fails at a given event."""

    def __init__(self, fails_at: int = -1) -> None:
        self.events: list[Event] = []
        self.violations: list[Violation] = []
        self._fails_at = fails_at

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:
        if len(self.events) == self._fails_at:
            raise ArithmeticError("a crash of ours")
        self.events.append(event)
        self.violations.extend(violations)


def test_one_pass_feeds_the_judge_and_all_who_go_along(
    ended: Run, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Path] = []
    judged: list[Event] = []
    feed = Judge.feed

    def read_once(path: Path) -> tuple[Header, Iterator[Event]]:
        passes.append(path)
        return read(path)

    def feed_once(judge: Judge, event: Event) -> list[Violation]:
        judged.append(event)
        return feed(judge, event)

    monkeypatch.setattr("run.run.read", read_once)
    monkeypatch.setattr(Judge, "feed", feed_once)
    reader = Counted()
    collected = EvidenceReader(ended, drawn=True)
    judgement = ended.end([reader, *collected.readers])
    assert passes == [history]
    assert judged == reader.events == list(read(history)[1])
    assert len(reader.violations) == sum(judgement.by_invariant.values()) > 0
    assert collected.metrics() == measure(history)
    assert judgement.verdict == "invalid"


def test_who_fails_on_the_way_costs_no_verdict(ended: Run) -> None:
    failing, whole = Counted(fails_at=2), Counted()
    readers: list[runs.Reader] = [failing, whole]
    assert ended.end(readers).verdict == "invalid"
    assert readers == [whole]
    assert len(failing.events) == 2 < len(whole.events)


def test_figures_of_a_gauge_that_failed_are_none(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Metrics:
        raise ArithmeticError("a crash of ours")

    monkeypatch.setattr(Gauge, "feed", fail)
    collected = EvidenceReader(ended, drawn=False)
    ended.end(collected.readers)
    assert collected.metrics() is None


def test_the_pods_of_the_witness_are_shown_before_those_that_failed(ended: Run) -> None:
    collected = EvidenceReader(ended, drawn=False)
    judgement = ended.end(collected.readers)
    named = list(collected._pods)
    record = cast("TestRecord", SimpleNamespace())
    collected.conclude(judgement, record, named[-1])
    assert collected._shown[:1] == named[-1:]
    assert set(collected._failed) <= set(collected._shown)


def test_a_lab_is_asked_once_whether_it_can_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def rehearse(dsn: str) -> None:
        asked.append(dsn)
        if len(asked) == 1:
            raise audit.AuditError("it has no task_instance.map_index")

    monkeypatch.setattr(audit, "rehearse", rehearse)
    lab = cast("Lab", SimpleNamespace(directory=tmp_path, dsn=lambda: "host=db"))
    with pytest.raises(audit.AuditError, match="map_index"):
        runs.rehearse(lab)
    runs.rehearse(lab)
    runs.rehearse(lab)
    assert asked == ["host=db"] * 2, "what was refused is asked again, what is well is not"


def test_a_history_of_days_is_not_drawn(ended: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_DRAWN", 3)
    collected = EvidenceReader(ended, drawn=True)
    ended.end(collected.readers)
    assert collected._surveyor is None
    assert [type(reader) for reader in collected.readers] == [EvidenceReader, Gauge]
    assert collected.metrics() is not None
