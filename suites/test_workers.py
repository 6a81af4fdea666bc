"""Does the rest of Airflow bear it when a worker is gone?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("dying-with-a-worker")
def test_evicted(scenario: Scenario, permutation: str, history: Run) -> None:
    """The pod of a task that has a callback is deleted while it works."""
    Performer(scenario, history).perform(permutation)
