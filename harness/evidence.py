"""Lays the evidence of a judged run before whoever reads its Allure result: steps, and files."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import allure
import pytest
from allure_commons.model2 import Status, TestResult, TestStepResult

from common.redaction import redact
from harness.outcome import told_broken
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
from oracle.history import read
from oracle.prose import fault_text, hold_text, process_text
from oracle.verdict import Judgement
from run.run import Run

log = logging.getLogger(__name__)

CONCLUDED = pytest.StashKey[tuple[Run, Judgement]]()
"""What a test's run came to, where it was judged."""

MOST = 2_000_000
"""Bytes; a report with hundreds of tests must still open."""

PODS = 12
"""Logs of pods; those that nothing happened to are alike."""

_SVG = allure.attachment_type.SVG
_TEXT = allure.attachment_type.TEXT


def add(result: TestResult, run: Run, judgement: Judgement) -> None:
    """Add to a test's result what happened, and everything that the run left on disk."""
    happened, pods = _read(run.folder)
    result.steps.append(_lab(run, judgement))
    result.steps.append(_told(happened, judgement))
    _attach_file(run.folder / "witness.txt", "witness", _TEXT)
    _draw(run.folder)
    _attach(run.folder, pods)


def _read(folder: Path) -> tuple[list[Event], list[str]]:
    """Return what was done to the lab, and the pods of the witness, then those that failed."""
    witness = (folder / "witness.txt").read_text()
    happened: list[Event] = []
    told: dict[str, None] = {}
    failed: dict[str, None] = {}
    for event in read(folder / "history.ndjson")[1]:
        if isinstance(event, FaultEvent | HoldEvent | NoteEvent | ProcessEvent | End):
            happened.append(event)
        elif isinstance(event, WorkerEvent) and (event.refused or event.exit_code):
            failed[event.pod] = None
        elif isinstance(event, PodEvent) and event.name in witness:
            told[event.name] = None
        elif isinstance(event, PodEvent) and event.phase == "Failed":
            failed[event.name] = None
    return happened, [*islice(told | failed, PODS)]


def _lab(run: Run, judgement: Judgement) -> TestStepResult:
    """Tell which lab it was, and how long its boot took; a warm one was booted once."""
    total = sum(run.lab.boot.values())
    name = f"lab: Airflow {run.lab.airflow.label}, {run.lab.kind}, booted in {total:.1f} s"
    begun = _moment(judgement, 0.0)
    step = TestStepResult(name=name, status=Status.PASSED, start=begun, stop=begun)
    for part, seconds in run.lab.boot.items():
        step.steps.append(
            TestStepResult(
                name=f"{part}: {seconds:.1f} s", status=Status.PASSED, start=begun, stop=begun
            )
        )
    return step


def _told(happened: list[Event], judgement: Judgement) -> TestStepResult:
    """Tell faults, holds and notes as steps in order, each with its time; the verdict at last."""
    over = _moment(judgement, max((event.t for event in happened), default=0.0))
    told = [*steps(happened, judgement.header.epoch), *_judged(judgement, over)]
    return TestStepResult(
        name="what happened",
        status=Status.PASSED,
        start=min(step.start for step in told),
        stop=max(step.stop for step in told),
        steps=told,
    )


def steps(happened: Iterable[Event], epoch: float) -> list[TestStepResult]:
    """Make a step of each event; what begins lasts until its end, where that was seen."""
    made: list[TestStepResult] = []
    begun: dict[tuple[str, str], TestStepResult] = {}
    for event in happened:
        if isinstance(event, FaultEvent):
            key, name = (event.name, event.process or ""), fault_text(event)
        elif isinstance(event, HoldEvent):
            key, name = (event.name, event.process), f"{event.process} {hold_text(event)}"
        elif isinstance(event, NoteEvent):
            key, name = ("", ""), event.text
        elif isinstance(event, ProcessEvent) and (told := process_text(event)):
            key, name = ("", ""), " ".join(told)
        else:
            continue
        at = int((epoch + event.t) * 1000)
        op = "" if isinstance(event, NoteEvent | ProcessEvent) else event.op
        if op in ("end", "release") and key in begun:
            begun.pop(key).stop = at
            continue
        made.append(TestStepResult(name=redact(name), status=Status.PASSED, start=at, stop=at))
        if op in ("begin", "hold"):
            begun[key] = made[-1]
    return made


def _judged(judgement: Judgement, at: int) -> Iterator[TestStepResult]:
    """Tell the assumptions that failed, and the verdict."""
    for one in judgement.assumptions:
        if not one.met:
            then = _moment(judgement, one.t)
            name = f"assumption not met: {one.name} was {one.value or 'not'}"
            yield TestStepResult(name=redact(name), status=Status.BROKEN, start=then, stop=then)
    broken = told_broken(judgement.by_invariant)
    status = {"valid": Status.PASSED, "invalid": Status.FAILED, "unknown": Status.BROKEN}
    yield TestStepResult(
        name=f"judged: {judgement.verdict}{': ' + broken if broken else ''}",
        status=status[judgement.verdict],
        start=at,
        stop=at,
    )


def _moment(judgement: Judgement, t: float) -> int:
    return int((judgement.header.epoch + t) * 1000)


def _draw(folder: Path) -> None:
    """Draw the run, for Allure and for later; a picture that fails costs no verdict.

    The plotting libraries take seconds to import: a session that draws nothing spares them.
    """
    from reports import timeline

    try:
        page, picture = timeline.draw(folder)
        allure.attach.file(page, "timeline", allure.attachment_type.HTML)
        if picture:
            allure.attach.file(picture, "witness, drawn", _SVG)
    except Exception:
        log.exception("The timeline of %s could not be drawn", folder.name)


def _attach(folder: Path, pods: Iterable[str]) -> None:
    """Attach the files of a run, each within `MOST` bytes."""
    for file, name, kind in (
        ("verdict.json", "verdict", allure.attachment_type.JSON),
        ("metrics.json", "metrics", allure.attachment_type.JSON),
        ("values.yaml", "Helm values", allure.attachment_type.YAML),
        ("history.ndjson", "history", _TEXT),
    ):
        _attach_file(folder / file, name, kind)
    for path in sorted((folder / "logs").glob("*.log")):
        _attach_file(path, f"log of {path.stem}", _TEXT)
    for pod in pods:
        _attach_file(folder / "pods" / f"{pod}.log", f"log of pod {pod}", _TEXT)


def attach_captured(captured: Mapping[str, str]) -> None:
    """Attach what pytest captured of a test, redacted."""
    for name, text in captured.items():
        if text:
            allure.attach(redact(text), name, _TEXT)


def _attach_file(path: Path, name: str, kind: allure.attachment_type) -> None:
    if not path.is_file() or not path.stat().st_size:
        return
    if path.stat().st_size <= MOST:
        allure.attach.file(path, name, kind)
    else:
        allure.attach(bounded(path), f"{name} (begin and end)", _TEXT)


def bounded(path: Path, most: int = MOST) -> str:
    """Return a file's begin and end, whole lines, and between them how much is left out."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(most // 2)
        file.seek(size - most // 2)
        tail = file.read()
    head = head[: head.rfind(b"\n") + 1] or head
    tail = tail[tail.find(b"\n") + 1 :]
    left_out = size - len(head) - len(tail)
    where = Path(*path.parts[path.parts.index("tests") :]) if "tests" in path.parts else path.name
    middle = (
        f"... {left_out:,} bytes are left out here; the whole is {where} in the run folder ...\n"
    )
    return head.decode(errors="replace") + middle + tail.decode(errors="replace")
