"""Do the other schedulers carry on when one of them stops?"""

import pytest

from harness.run import Run
from harness.scenario import Scenario
from harness.steps import Performer


@pytest.mark.scenario("critical-section")
def test_frozen(scenario: Scenario, permutation: str, history: Run) -> None:
    """One scheduler is frozen where it hurts most: with the locks of its critical section."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("woken-scheduler")
def test_woken(scenario: Scenario, permutation: str, history: Run) -> None:
    """One scheduler stalls for longer than scheduler_health_check_threshold, and wakes."""
    Performer(scenario, history).perform(permutation)
