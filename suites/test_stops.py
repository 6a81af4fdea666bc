"""Does what is told to end do so in good order, as at every roll-out?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("slow-stop")
def test_told_to_end(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler with nothing in hand is told to end."""
    Performer(scenario, history).perform(permutation)
