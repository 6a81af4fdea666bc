"""Is what a worker reports what is stored?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("failed-success")
def test_reported(scenario: Scenario, permutation: str, history: Run) -> None:
    """A worker reports success, and the API server meets an error."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("resent-defer")
def test_repeated(scenario: Scenario, permutation: str, history: Run) -> None:
    """A worker that got no answer repeats its request, and its task has gone on meanwhile."""
    Performer(scenario, history).perform(permutation)
