"""Does the rest of Airflow bear it when a worker is gone?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("dying-with-a-worker")
def test_evicted(scenario: Scenario, permutation: str, history: Run) -> None:
    """The pod of a task that has a callback is deleted while it works."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("dropped-event")
def test_evicted_while_locked(scenario: Scenario, permutation: str, history: Run) -> None:
    """The pod of a task is deleted while its heartbeat is being written."""
    Performer(scenario, history).perform(permutation)
