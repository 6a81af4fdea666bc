"""What a test's newest trial amounts to, in the words of the report's categories.

Allure sorts by a test's status; ours asks more: is the broken promise a known one, is it by
design, did an older run of the same build break it? So the finding is decided here, staged as a
label, and Allure's categories match that label.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from common.redaction import excerpt
from reports.allure.pasts import Past, ReportedTrial
from reports.records import TestRecord

LABEL = "finding"
"""The label that carries a finding's name."""

NEW = "New violation"
BEFORE = "Flaky: an older run of this build broke a promise"
UNCONFIRMED = "Unconfirmed: a known race did not show itself"
FAILED = "Failed check"
CRASHED = "Crashed or vanished"
UNKNOWN = "Test defect: cannot tell"
BY_DESIGN = "Expected failure: "
KNOWN = "Known: "

_ORDER = (NEW, BEFORE, KNOWN, UNCONFIRMED, FAILED, CRASHED, UNKNOWN, BY_DESIGN)


@dataclass(frozen=True)
class Finding:
    """A category's name, and the line that says why the test is in it."""

    name: str
    message: str


class Category(msgspec.Struct, frozen=True):
    """A category as the configuration of Allure wants it; matched by the label alone."""

    name: str
    pattern: str


def find(past: Past) -> Finding | None:
    """Say what the newest trial amounts to; None for one of which there is nothing to say."""
    newest = past.newest
    if newest.record is not None and newest.verdict == "invalid":
        return _violation(newest.record)
    if older := past.older_violation:
        when = older.run.session_name
        what = older.record.violations_text if older.record else ""
        return Finding(BEFORE, f"Session {when} of this build broke {what}; the newest did not.")
    return _without_violation(newest)


def _violation(record: TestRecord) -> Finding:
    what, known = record.violations_text, next(iter(record.showed), None)
    if record.new or known is None:
        return Finding(NEW, what)
    name = known.link[1] if known.link else known.title
    return Finding(f"{BY_DESIGN if known.by_design else KNOWN}{name}", what)


def _without_violation(trial: ReportedTrial) -> Finding | None:
    """Judge by its end and verdict; by Allure's status where no session says how it ended."""
    record = trial.record
    status = trial.result.status if trial.result else None
    outcome = trial.ended.outcome if trial.ended else status
    reason = excerpt(trial.ended.reason) if trial.ended else ""
    if trial.ended and outcome == "crashed":
        return Finding(CRASHED, reason or "The worker died with the test.")
    if trial.vanished:
        return Finding(CRASHED, "It was to run, and did not come to its end.")
    if trial.ended and outcome == "xfailed":
        return Finding(f"{BY_DESIGN}{reason or 'as the test says'}", reason)
    if record is not None and record.verdict == "unknown":
        return Finding(UNKNOWN, excerpt("; ".join(record.reasons) or reason))
    if outcome == "failed":
        return Finding(UNCONFIRMED if record and record.expect_known else FAILED, reason)
    return Finding(UNKNOWN, reason) if "broken" in (outcome, status) else None


def categories(findings: Iterable[Finding]) -> list[Category]:
    """Return the categories that the report needs, the gravest first."""
    names = sorted({finding.name for finding in findings}, key=_rank)
    return [Category(name, f"^{re.escape(name)}$") for name in names]


def _rank(name: str) -> tuple[int, str]:
    prefixes = (i for i, prefix in enumerate(_ORDER) if name.startswith(prefix))
    return next(prefixes, len(_ORDER)), name
