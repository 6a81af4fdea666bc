"""The evidence of a judged run for whoever reads its Allure result: steps, and files."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import allure
import pytest
from allure_commons.model2 import Status, TestResult, TestStepResult

from common.files import ends
from common.redaction import redact
from oracle.events import (
    End,
    Event,
    FaultEvent,
    HoldEvent,
    NoteEvent,
    PodEvent,
    ProcessEvent,
    WorkerEvent,
)
from oracle.invariants import Violation
from oracle.prose import fault_text, hold_text, process_text
from oracle.verdict import Judgement
from reports import timeline
from reports.metrics import Gauge, Metrics
from reports.records import TestRecord
from reports.timeline.survey import Surveyor
from run.run import Reader, Run

log = logging.getLogger(__name__)

MOST = 2_000_000
"""Bytes; a report with hundreds of tests must still open."""

MOST_DRAWN = 1_000_000
"""Events; a survey of more, as of an observation of days, takes memory by the gigabyte."""

PODS = 12
"""Logs of pods; those that nothing happened to are alike."""

_SVG = allure.attachment_type.SVG
_TEXT = allure.attachment_type.TEXT
_STATUS = {"valid": Status.PASSED, "invalid": Status.FAILED, "unknown": Status.BROKEN}


class EvidenceReader:
    """Goes along while a run's history is judged, and keeps what its result is to show.

    `readers` are itself and those that measure the run and, where it will be `drawn`, survey it:
    what is not among them after the history was read has failed.
    """

    def __init__(self, run: Run, *, drawn: bool) -> None:
        header = run.recorder.header
        self._run = run
        self._epoch = header.epoch
        self._gauge = Gauge(header)
        self._surveyor: Surveyor | None = Surveyor(header) if drawn else None
        self._count = 0
        self.readers: list[Reader] = [self, self._gauge]
        if self._surveyor is not None:
            self.readers.append(self._surveyor)
        self._happened: list[Event] = []
        self._pods: dict[str, None] = {}
        self._failed: dict[str, None] = {}

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:  # noqa: ARG002
        """Keep what was done to the lab, and which pods there were, which of them failed."""
        self._count += 1
        if self._count > MOST_DRAWN and self._surveyor in self.readers:
            self.readers.remove(self._surveyor)
            self._surveyor = None
        if isinstance(event, FaultEvent | HoldEvent | NoteEvent | ProcessEvent | End):
            self._happened.append(event)
        elif isinstance(event, WorkerEvent) and (event.refused or event.exit_code):
            self._failed[event.pod] = None
        elif isinstance(event, PodEvent):
            self._pods[event.name] = None
            if event.phase == "Failed":
                self._failed[event.name] = None

    def metrics(self) -> Metrics | None:
        """Return the run's figures, None where it could not be measured."""
        return self._gauge.metrics() if self._gauge in self.readers else None

    def conclude(self, judgement: Judgement, record: TestRecord, witness: str) -> None:
        """Take in what the history proves."""
        self._judgement, self.record = judgement, record
        pods = [pod for pod in self._pods if pod in witness]
        self._shown = [*islice(dict.fromkeys([*pods, *self._failed]), PODS)]

    def add(self, result: TestResult) -> None:
        """Add to a test's result what happened, and everything that the run left on disk."""
        folder = self._run.folder
        result.steps += [self._lab(), self._story()]
        _attach_file(folder / "witness.txt", "witness", _TEXT)
        self._draw()
        for file, name, kind in (
            ("verdict.json", "verdict", allure.attachment_type.JSON),
            ("metrics.json", "metrics", allure.attachment_type.JSON),
            ("values.yaml", "Helm values", allure.attachment_type.YAML),
            ("history.ndjson", "history", _TEXT),
        ):
            _attach_file(folder / file, name, kind)
        for path in sorted((folder / "logs").glob("*.log")):
            _attach_file(path, f"log of {path.stem}", _TEXT)
        for pod in self._shown:
            _attach_file(folder / "pods" / f"{pod}.log", f"log of pod {pod}", _TEXT)

    def _lab(self) -> TestStepResult:
        """Say which lab it was, and how long its boot took; a warm one was booted once."""
        lab, at = self._run.lab, self._moment(0.0)
        total = sum(lab.boot.values())
        step = _step(f"lab: Airflow {lab.airflow.label}, {lab.kind}, booted in {total:.1f} s", at)
        step.steps = [_step(f"{part}: {took:.1f} s", at) for part, took in lab.boot.items()]
        return step

    def _story(self) -> TestStepResult:
        """Give faults, holds and notes as steps in order, each with its time; the verdict last."""
        over = self._moment(max((event.t for event in self._happened), default=0.0))
        made = [*steps(self._happened, self._epoch), *self._judged(over)]
        whole = _step("what happened", min(step.start for step in made))
        whole.stop, whole.steps = max(step.stop for step in made), made
        return whole

    def _judged(self, at: int) -> Iterator[TestStepResult]:
        """Give the assumptions that failed, and the verdict."""
        for one in self._judgement.assumptions:
            if not one.met:
                name = f"assumption not met: {one.name} was {one.value or 'not'}"
                yield _step(name, self._moment(one.t), Status.BROKEN)
        verdict, broken = self.record.verdict, self.record.violations_text
        yield _step(f"judged: {verdict}{broken and f': {broken}'}", at, _STATUS[verdict])

    def _moment(self, t: float) -> int:
        return int((self._epoch + t) * 1000)

    def _draw(self) -> None:
        """Draw the run, for Allure and for later; a picture that fails costs no verdict."""
        if self._surveyor is None or self._surveyor not in self.readers:
            return
        try:
            survey = self._surveyor.conclude(self._judgement, self.record)
            page, picture = timeline.draw(self._run.folder, survey)
            allure.attach.file(page, "timeline", allure.attachment_type.HTML)
            if picture:
                allure.attach.file(picture, "witness, drawn", _SVG)
        except Exception:
            log.exception("The timeline of %s could not be drawn", self._run.folder.name)


CONCLUDED = pytest.StashKey[EvidenceReader]()
"""What a test's run came to, where it was judged."""


def steps(happened: Iterable[Event], epoch: float) -> list[TestStepResult]:
    """Make a step of each event; what begins lasts until its end, where that was seen."""
    made: list[TestStepResult] = []
    begun: dict[tuple[str, str | None], TestStepResult] = {}
    for event in happened:
        key: tuple[str, str | None] = ("", None)
        op = ""
        if isinstance(event, FaultEvent):
            key, op, name = (event.name, event.process), event.op, fault_text(event)
        elif isinstance(event, HoldEvent):
            key, op = (event.name, event.process), event.op
            name = f"{event.process} {hold_text(event)}"
        elif isinstance(event, NoteEvent):
            name = event.text
        elif isinstance(event, ProcessEvent) and (text := process_text(event)):
            name = " ".join(text)
        else:
            continue
        at = int((epoch + event.t) * 1000)
        if op in ("end", "release") and key in begun:
            begun.pop(key).stop = at
            continue
        made.append(_step(name, at))
        if op in ("begin", "hold"):
            begun[key] = made[-1]
    return made


def _step(name: str, at: int, status: str = Status.PASSED) -> TestStepResult:
    return TestStepResult(name=redact(name), status=status, start=at, stop=at)


def attach_captured(captured: Mapping[str, str]) -> None:
    """Attach what pytest captured of a test, redacted."""
    for name, text in captured.items():
        if text:
            allure.attach(redact(text), name, _TEXT)


def _attach_file(path: Path, name: str, kind: allure.attachment_type) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if 0 < size <= MOST:
        allure.attach.file(path, name, kind)
    elif size:
        allure.attach(bounded(path), f"{name} (begin and end)", _TEXT)


def bounded(path: Path, most: int = MOST) -> str:
    """Return a file's begin and end, whole lines, and between them how much is left out."""
    head, left_out, tail = ends(path, most // 2)
    where = Path(*path.parts[path.parts.index("tests") :]) if "tests" in path.parts else path.name
    middle = (
        f"... {left_out:,} bytes are left out here; the whole is {where} in the run folder ...\n"
    )
    return f"{head}{middle}{tail}"
