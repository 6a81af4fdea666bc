"""Does a trigger's event resume who waits for it, and nobody else?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("stale-trigger")
def test_stale(scenario: Scenario, permutation: str, history: Run) -> None:
    """A triggerer is held with a trigger's event in hand, while its task goes another way."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("stolen-callback")
def test_stolen(scenario: Scenario, permutation: str, history: Run) -> None:
    """A run is late, and its callback is a trigger beside two triggerers."""
    Performer(scenario, history).perform(permutation)
