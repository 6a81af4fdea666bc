"""From a judgement to a test's outcome: what is red, what is green, and what is broken."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from common.redaction import excerpt
from oracle.verdict import Judgement
from reports import records
from reports.records import Outcome
from scenarios.scenario import Scenario

_ISSUE = re.compile(r"https://github\.com/([^/]+/[^/]+)/issues/(\d+)")


class Unknown(Exception):
    """The run cannot tell: an assumption failed. Allure calls such a test broken, not failed."""


@dataclass(frozen=True)
class Known:
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
        )


def settle(
    judgement: Judgement, version: str, known: Known | None, *, expect_known: bool, witness: str
) -> str:
    """End the test as its judgement asks, or return a line for the summary when it is green.

    Raises pytest's failure for a broken promise of Airflow (or a known one that did not show
    itself where it was expected), Unknown when the run cannot tell. What Airflow's makers call its
    design is an expected failure: a gate that no release can pass is heeded by nobody.
    """
    affected = known is not None and known.scenario.affects(version)
    if judgement.verdict == "invalid":
        broken = {violation.invariant for violation in judgement.violations}
        if known and affected and known.scenario.breaks & broken:
            if expect_known:
                return f"reproduced {known.scenario.name}"
            link = f"Known as {known.scenario.known_as} (--expect-known accepts it).\n"
            if known.scenario.by_design:
                pytest.xfail(f"{link}{witness}")
            pytest.fail(f"{link}{witness}", pytrace=False)
        pytest.fail(witness, pytrace=False)
    if judgement.verdict == "unknown":
        raise Unknown("The verdict is unknown: " + "; ".join(judgement.reasons))
    if known and affected and expect_known and known.shows:
        pytest.fail(
            f"{known.scenario.known_as} is known to be in Airflow {version}, "
            "and did not show itself: "
            "either the scenario has lost its teeth, or this build has a fix.",
            pytrace=False,
        )
    return "clean"


def ended(call: pytest.CallInfo[None], record: Mapping[str, Any] | None) -> tuple[Outcome, str]:
    """Say how a phase of a test ended, and why in one line; `record` is its verdict, if it has one.

    Whatever is neither a failed check nor an outcome of pytest's own is an error: broken. So is
    what fails before or after the test itself, where nothing is checked: a plugin's time limit
    fails whatever runs.
    """
    if call.excinfo is None:
        return "passed", ""
    error = call.excinfo.value
    reason = _first_line(str(error)) or type(error).__name__
    if isinstance(error, pytest.skip.Exception):
        return "skipped", reason
    if record and record["verdict"] == "invalid":
        reason = told_broken(record["violations"])
    if isinstance(error, pytest.xfail.Exception):
        return "xfailed", reason
    checked = isinstance(error, pytest.fail.Exception | AssertionError)
    failed = checked and call.when == "call"
    return ("failed" if failed else "broken"), reason


def link(issue: str) -> tuple[str, str] | None:
    """Return an issue's URL, and how people write it: apache/airflow#57618; None for no URL."""
    if found := _ISSUE.match(issue):
        return issue, f"{found[1]}#{found[2]}"
    return (issue, issue) if issue.startswith("https://") else None


def told_broken(violations: Mapping[str, int]) -> str:
    """Name the broken promises with how often each was broken."""
    return ", ".join(f"{name} {count}" for name, count in violations.items() if count)


def _first_line(text: str) -> str:
    return excerpt(next(iter(text.strip().splitlines()), ""))
