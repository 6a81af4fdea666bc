"""Does each run end once, whoever ends it?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("retry-unlocked")
def test_finished_by_both(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler's statement fails while it decides on runs, and it tries again."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("paused-sweep")
def test_finished_while_paused(scenario: Scenario, permutation: str, history: Run) -> None:
    """A run of a paused DAG has ended, and both schedulers look after such runs."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("drain-vs-trigger")
def test_triggered_while_drained(scenario: Scenario, permutation: str, history: Run) -> None:
    """A run is triggered while a scheduler is about to pause a DAG that has none left."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("poison-callback")
def test_deadline_missed(scenario: Scenario, permutation: str, history: Run) -> None:
    """A run misses its deadline, and an executor is to call a function for that."""
    Performer(scenario, history).perform(permutation)
