"""What a killed exploration had recorded and not judged: what it found is kept.

A find ends its batch, so a SIGKILL may come between the violation and the verdict. A round that was
not judged is drawn again, for its number is not counted: only what it broke would be lost.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace as with_other
from pathlib import Path

from common.errors import UserError
from explore import schedule as schedules
from explore.finds import broke, runs_of
from explore.schedule import Schedule
from oracle import witness
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.verdict import Judge, Judgement


def salvage(folder: Path, keep: Callable[[Schedule, Path], None]) -> None:
    """Judge the batches that a killed exploration left in a folder; `keep` what they found.

    `keep` gets the schedule and the folder of its history. The batches are gone then.
    """
    for batch in sorted(folder.glob("batch-*")):
        with suppress(HistoryError, UserError):
            judgement = _judged(batch / "history.ndjson")
            for schedule in map(schedules.read_any, sorted(batch.glob("round-*.yaml"))):
                if violations := _broken(schedule.round, judgement):
                    keep(broke(schedule, violations, witness.text(judgement)), batch)
        shutil.rmtree(batch, ignore_errors=True)


def _judged(history: Path) -> Judgement:
    """Judge a history that breaks off, by what its events show: its end shows nothing."""
    header, events = read(history)
    judge = Judge(header)
    found: list[Violation] = []
    with suppress(HistoryError):
        for event in events:
            found += judge.feed(event)
    return with_other(judge.conclude(), violations=found)


def _broken(number: int, judgement: Judgement) -> list[Violation]:
    """Return the violations of a round, by the names of its runs."""
    return [
        each
        for each in judgement.violations
        if any(name.startswith(f"x{number}-") for name in runs_of(each))
    ]
