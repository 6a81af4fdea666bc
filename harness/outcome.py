"""From a verdict to a test's outcome: what is red, what is green, and what is broken."""

from dataclasses import dataclass
from typing import Any

import pytest

from common.redaction import excerpt
from lab.base import Lab
from reports import records
from reports.records import Outcome, TestRecord
from scenarios.scenario import Scenario


class Unknown(Exception):
    """The run cannot tell: an assumption failed. Allure calls such a test broken, not failed."""


def about(lab: Lab) -> dict[str, Any]:
    """Return what a test's record says of its lab, by the record's fields."""
    return {
        "airflow": lab.airflow.label,
        "version": lab.airflow.version,
        "build": lab.airflow.build,
        "packages": dict(lab.airflow.packages),
        "drivers": list(lab.airflow.drivers),
        "lab": lab.kind,
        "schedulers": len(lab.schedulers),
        "workers": lab.workers,
    }


@dataclass(frozen=True)
class KnownRace:
    """A known race that a test meets: its scenario, and whether the test must show it.

    `shows` is false where the disturbance only makes the race likelier: there, a clean run of an
    affected release is no news.
    """

    scenario: Scenario
    shows: bool = True

    def of(self, version: str) -> records.Known:
        """Return what a report wants to know of it, for one release."""
        return records.Known(
            scenario=self.scenario.name,
            title=self.scenario.title,
            issue=self.scenario.issue,
            affected=self.scenario.affects(version),
            must_show=self.shows,
            by_design=self.scenario.by_design,
            breaks=sorted(self.scenario.breaks),
            follows=sorted(self.scenario.follows),
        )


def settle(record: TestRecord, witness: str) -> str:
    """End the test as its verdict asks, or return a line for the summary when it is green.

    Raises pytest's failure for a broken promise of Airflow (or a known one that did not show
    itself where it was expected), Unknown when the run cannot tell. What Airflow's makers call its
    design is an expected failure: a gate that no release can pass is heeded by nobody.
    """
    if record.verdict == "unknown":
        raise Unknown("The verdict is unknown: " + "; ".join(record.reasons))
    known = record.known if record.known and record.known.affected else None
    called = known and (known.url or f'"{known.title}" ({known.issue})')
    if record.verdict == "invalid":
        if known is None or not record.shown:
            pytest.fail(witness, pytrace=False)
        if record.new:
            beside = ", ".join(sorted(record.new))
            pytest.fail(f"{called} showed itself, and {beside} with it.\n{witness}", pytrace=False)
        if record.expect_known:
            return f"reproduced {known.scenario}"
        text = f"Known as {called} (--expect-known accepts it).\n{witness}"
        if known.by_design:
            pytest.xfail(text)
        pytest.fail(text, pytrace=False)
    if known and record.expect_known and known.must_show:
        pytest.fail(
            f"{called} is known to be in Airflow {record.version}, and did not show itself: "
            "either the scenario has lost its teeth, or this build has a fix.",
            pytrace=False,
        )
    return "clean"


def ended(call: pytest.CallInfo[None], record: TestRecord | None) -> tuple[Outcome, str]:
    """Say how a phase of a test ended, and why in one line; `record` is its verdict, if it has one.

    Whatever is neither a failed check nor an outcome of pytest's own is an error: broken. So is
    what fails before or after the test itself, where nothing is checked: a plugin's time limit
    fails whatever runs.
    """
    if call.excinfo is None:
        return "passed", ""
    error = call.excinfo.value
    first = next(iter(str(error).strip().splitlines()), "")
    reason = excerpt(first) or type(error).__name__
    if isinstance(error, pytest.skip.Exception):
        return "skipped", reason
    if record and record.verdict == "invalid":
        reason = record.violations_text
    if isinstance(error, pytest.xfail.Exception):
        return "xfailed", reason
    checked = isinstance(error, pytest.fail.Exception | AssertionError)
    return ("failed" if checked and call.when == "call" else "broken"), reason
