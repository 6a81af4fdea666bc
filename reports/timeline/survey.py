"""The first look at a history: what it proves, how long it is, and who broke a promise."""

from dataclasses import dataclass

from common.redaction import redact
from oracle.events import End, TaskInstanceKey
from oracle.invariants import Violation
from oracle.verdict import Judge, Judgement
from reports.timeline.source import Source

MARKS = 5_000
"""Violations that are drawn; more are only counted, for points would cover one another."""


@dataclass(frozen=True)
class Mark:
    """A violation as it is drawn: when, whose, which promise, and its text (redacted)."""

    t: float
    ti: TaskInstanceKey | None
    invariant: str
    message: str


@dataclass(frozen=True)
class Survey:
    """What the first pass over a history found; `end` is the time of its last event, seconds."""

    source: Source
    judgement: Judgement
    marks: tuple[Mark, ...]
    end: float

    @property
    def violating(self) -> dict[TaskInstanceKey, list[Mark]]:
        """Return the task instances that have a violation, with their violations in order."""
        found: dict[TaskInstanceKey, list[Mark]] = {}
        for mark in self.marks:
            if mark.ti is not None:
                found.setdefault(mark.ti, []).append(mark)
        return found

    @property
    def violations(self) -> int:
        """Return how many violations there are, drawn or not."""
        return sum(self.judgement.by_invariant.values())

    @property
    def verdict(self) -> str:
        """Return the test's own verdict, or, without one, what the history alone proves."""
        record = self.source.record
        return record.verdict if record else self.judgement.verdict


def survey(source: Source) -> Survey:
    """Judge a history in one pass; memory is bounded by the judge's, not by its length."""
    judge = Judge(source.header)
    found: list[Violation] = []
    end = 0.0
    for event in source.events():
        new = judge.feed(event)
        if len(found) < MARKS:
            found.extend(new)
        if not isinstance(event, End):
            end = max(end, event.t)
    judgement = judge.conclude()
    unique = {(v.t, v.ti, v.invariant): v for v in (*found, *judgement.violations)}
    marks = sorted(map(_mark, unique.values()), key=lambda mark: mark.t)
    return Survey(source, judgement, tuple(marks), max(end, *(m.t for m in marks), 0.001))


def _mark(violation: Violation) -> Mark:
    return Mark(violation.t, violation.ti, violation.invariant, redact(violation.message))
