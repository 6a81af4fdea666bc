"""Does every update of an asset come to those that wait for it?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("second-asset-event")
def test_updated_twice(scenario: Scenario, permutation: str, history: Run) -> None:
    """An asset is updated twice before a scheduler looks."""
    Performer(scenario, history).perform(permutation)
