"""From a judgement to a test's outcome: what is red, what is green, and what is broken."""

from dataclasses import dataclass

import pytest

from harness.scenario import Scenario
from oracle.verdict import Judgement


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
