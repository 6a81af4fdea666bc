"""Do the other schedulers carry on when one of them stops?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("critical-section")
def test_frozen(scenario: Scenario, permutation: str, history: Run) -> None:
    """One scheduler is frozen where it hurts most: with the locks of its critical section."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("woken-scheduler")
def test_woken(scenario: Scenario, permutation: str, history: Run) -> None:
    """One scheduler stalls for longer than scheduler_health_check_threshold, and wakes."""
    Performer(scenario, history).perform(permutation)
